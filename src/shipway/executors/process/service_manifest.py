"""An InferenceService read as a command for this machine: what is honoured, what is not applied, what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipway import labels, modules
from shipway.context import HOME, Context
from shipway.errors import InvalidSpec
from shipway.executors.base import Manifest
from shipway.executors.identity import spec_hash
from shipway.executors.process.environments import environment_of, environments, resolve_command
from shipway.podsecurity import WRITABLE

KIND = "InferenceService"
LOCAL_PORT = f"{labels.PREFIX}/local-port"  # annotation: the port on this machine, stable over versions
START_DEADLINE_S = 300.0
GRACE_S = 30.0

_HONOURED = {"containers", "terminationGracePeriodSeconds"}
_NOT_APPLIED = {
    "minReplicas": "one process serves",
    "maxReplicas": "one process serves",
    "serviceAccountName": "storage credentials come from the environment",
    "nodeSelector": "there is one machine",
    "tolerations": "there is one machine",
    "affinity": "there is one machine",
    "imagePullSecrets": "no image is pulled",
    "securityContext": "runs as this user",
    "priorityClassName": "there is no scheduler",
    "deploymentStrategy": "a new version always takes over without a gap",
    "timeout": "the predictor's own limits hold",
    "volumes": "scratch space is this machine's",
}
_CONTAINER_HONOURED = {"name", "image", "command", "args", "env", "startupProbe", "workingDir"}
_CONTAINER_NOT_APPLIED = {
    "resources": "nothing limits a process here",
    "ports": "the port is that of the endpoint",
    "readinessProbe": "the predictor says itself when it serves",
    "livenessProbe": "a predictor that ends is started again",
    "envFrom": "the environment is that of the caller",
    "lifecycle": "a predictor drains on SIGTERM",
    "securityContext": "runs as this user",
    "imagePullPolicy": "no image is pulled",
    "volumeMounts": "scratch space is this machine's",
}
_SCRATCH = ("/dev/shm", *WRITABLE.values())
# Of the run that deploys, not of the endpoint that outlives it.
_RUN_ONLY = ("SHIPWAY_RUN", "TMPDIR", "SHIPWAY_WATCH_PARENT", "SHIPWAY_JOB", "SHIPWAY_TRAINING", "SHIPWAY_PROGRESS")


@dataclass(frozen=True)
class Launch:
    """How to start the predictor of an InferenceService here."""

    name: str
    spec_hash: str
    command: list[str]
    env: dict[str, str]
    port: int | None
    grace_s: float
    start_deadline_s: float
    not_applied: list[str] = field(default_factory=list)


def read_manifest(manifest: Manifest) -> Launch:
    """The command that an InferenceService stands for.

    Raises:
        InvalidSpec: names the field that cannot be honoured here.
    """
    if manifest.get("kind") != KIND:
        raise InvalidSpec(field="kind", given=manifest.get("kind"), allowed=KIND)
    metadata = manifest.get("metadata") or {}
    name = str(metadata.get("name") or "")
    if not name or "/" in name or name.startswith("."):
        raise InvalidSpec(field="metadata.name", given=name, allowed="a name for an endpoint")
    spec = manifest.get("spec") or {}
    if extra := sorted(set(spec) - {"predictor"}):
        raise InvalidSpec("not supported by the process executor; only spec.predictor is", field=f"spec.{extra[0]}")
    predictor = spec.get("predictor") or {}
    skipped = _checked(predictor, "spec.predictor", _HONOURED, _NOT_APPLIED)
    containers = predictor.get("containers") or []
    if len(containers) != 1:
        raise InvalidSpec(field="spec.predictor.containers", given=len(containers), allowed="one container")
    where = "spec.predictor.containers[0]"
    skipped += _checked(containers[0], where, _CONTAINER_HONOURED, _CONTAINER_NOT_APPLIED)
    _check_volumes(predictor.get("volumes") or [], containers[0].get("volumeMounts") or [], where)
    annotations = metadata.get("annotations") or {}
    return Launch(
        name=name,
        spec_hash=str(annotations.get(labels.SPEC_HASH) or spec_hash(manifest)),
        command=_command(containers[0], where),
        env=_env(containers[0].get("env") or [], where),
        port=_port(annotations.get(LOCAL_PORT)),
        grace_s=float(predictor.get("terminationGracePeriodSeconds", GRACE_S)),
        start_deadline_s=_start_deadline(containers[0].get("startupProbe")),
        not_applied=skipped,
    )


def caller_env() -> dict[str, str]:
    """What a predictor inherits from whoever deploys it: storage and its credentials, not the run.

    The embedded store's address and keys are left out: they change when it is started anew, and a predictor finds the
    ones in force by itself.
    """
    from shipway.storage import server

    env = {key: value for key, value in modules.for_container(os.environ).items() if key not in _RUN_ONLY}
    home = Context.current().home
    env[HOME] = str(home)
    info = server.read_info(home)
    if info is not None and env.get("AWS_ENDPOINT_URL") == info.endpoint:
        for key in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            env.pop(key, None)
    return env


def _checked(given: Mapping[str, Any], where: str, honoured: set[str], not_applied: Mapping[str, str]) -> list[str]:
    """Lines for fields that mean nothing here; an unknown field is an error."""
    allowed = honoured | set(not_applied)
    for key in given:
        if key not in allowed:
            raise InvalidSpec(
                "not supported by the process executor", field=f"{where}.{key}", given=key, allowed=sorted(allowed)
            )
    return [f"{where}.{key}: {not_applied[key]}" for key in given if key in not_applied]


def _check_volumes(volumes: list[Mapping[str, Any]], mounts: list[Mapping[str, Any]], where: str) -> None:
    """Empty volumes at places where this machine has scratch space anyway; any other's content would be missing."""
    for i, volume in enumerate(volumes):
        if not isinstance(volume.get("emptyDir"), dict):
            raise InvalidSpec(
                "only an emptyDir can be honoured here", field=f"spec.predictor.volumes[{i}] ({volume.get('name')})"
            )
    for i, mount in enumerate(mounts):
        if mount.get("mountPath") not in _SCRATCH:
            allowed = ", ".join(_SCRATCH)
            raise InvalidSpec(f"only {allowed} can be honoured here", field=f"{where}.volumeMounts[{i}].mountPath")


def _command(container: Mapping[str, Any], where: str) -> list[str]:
    python = environment_of(str(container.get("image", "")), environments(), f"{where}.image")
    command = [str(word) for word in (*container.get("command", []), *container.get("args", []))]
    if not command:
        raise InvalidSpec("is needed here, where no image holds an entrypoint", field=f"{where}.command")
    return resolve_command(command, python)


def _env(entries: list[Mapping[str, Any]], where: str) -> dict[str, str]:
    env: dict[str, str] = {}
    for i, entry in enumerate(entries):
        if "valueFrom" in entry:
            raise InvalidSpec(
                "valueFrom cannot be resolved on this machine", field=f"{where}.env[{i}] ({entry.get('name')})"
            )
        env[str(entry["name"])] = str(entry.get("value", ""))
    return env


def _port(given: Any) -> int | None:
    if given in (None, ""):
        return None
    if not str(given).isdigit() or not 0 < int(given) < 65536:
        raise InvalidSpec(field=f"metadata.annotations.{LOCAL_PORT}", given=given, allowed="a port (1-65535)")
    return int(given)


def _start_deadline(probe: Mapping[str, Any] | None) -> float:
    if not probe:
        return START_DEADLINE_S
    return float(probe.get("failureThreshold", 3)) * float(probe.get("periodSeconds", 10))
