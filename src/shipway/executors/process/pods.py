"""Reads a pod, of a job or of an endpoint: one container, its command and environment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shipway.errors import InvalidSpec
from shipway.executors.process.environments import environment_of, resolve_command
from shipway.executors.process.fields import Fields
from shipway.podsecurity import WRITABLE

DEFAULT_GRACE_S = 10
PREDICTOR_GRACE_S = 30
PREDICTOR_START_S = 300.0  # where no probe says how long a start may take

# Understood, and of no meaning for processes of one machine.
_POD_NOT_APPLIED = (
    "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostNetwork",
    "imagePullSecrets", "nodeName", "nodeSelector", "preemptionPolicy", "priority", "priorityClassName",
    "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "serviceAccount", "serviceAccountName",
    "tolerations", "topologySpreadConstraints",
)  # fmt: skip
_CONTAINER_NOT_APPLIED = (
    "envFrom", "imagePullPolicy", "livenessProbe", "ports", "readinessProbe", "resources", "securityContext",
    "stdin", "terminationMessagePath", "terminationMessagePolicy", "tty",
)  # fmt: skip
_PREDICTOR_NOT_APPLIED = ("deploymentStrategy", "maxReplicas", "minReplicas", "timeout")  # one process serves
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True)
class Identity:
    """What a pod's downward API may tell its container, and `variables`, by whose names secrets are known here."""

    pod: str
    namespace: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True)
class Container:
    """A pod's only container, as processes need it; `start_s`: how long a predictor may take until it serves."""

    argv: list[str]
    env: dict[str, str]
    python: Path
    grace_s: float
    start_s: float = PREDICTOR_START_S


def read_template(
    template: Fields, name: str, known: Mapping[str, Path], who: Identity, is_played: bool = True
) -> Container:
    """The container named `name` of a pod template.

    Args:
        template: `template` of a replica spec.
        name: What the operator demands that the container is called.
        known: Image to interpreter.
        who: What fieldRef may ask for.
        is_played: Whether the command will run; an MPIJob's workers wait for the launcher, and nothing else.
    """
    template.take("metadata", dict, {})  # labels and annotations for others: the scheduler, a service mesh
    pod = template.child("spec")
    template.done()
    container, grace_s = _only_container(pod, DEFAULT_GRACE_S)
    if container.value.get("name") != name:
        raise InvalidSpec(field=container.at("name"), given=container.value.get("name"), allowed=[name])
    container.skip("startupProbe")
    container.refuse("lifecycle", "there is no container to hook into")
    return _container(container, known, who, grace_s, is_played)


def read_predictor(predictor: Fields, known: Mapping[str, Path], who: Identity) -> Container:
    """The container of an InferenceService's predictor, which is a pod with a few fields of KServe's own.

    Args:
        predictor: `spec.predictor`.
        known: Image to interpreter.
        who: What fieldRef may ask for.
    """
    predictor.skip(*_PREDICTOR_NOT_APPLIED)
    container, grace_s = _only_container(predictor, PREDICTOR_GRACE_S)
    container.skip("lifecycle")  # a predictor drains on SIGTERM
    probe = container.child("startupProbe")
    tries, period_s = probe.natural("failureThreshold", 3), probe.natural("periodSeconds", 10)
    read = _container(container, known, who, grace_s, is_played=True)
    return replace(read, start_s=float(tries or 0) * (period_s or 0)) if probe.value else read


def _only_container(pod: Fields, grace_s: int) -> tuple[Fields, float]:
    """It, and the seconds between SIGTERM and SIGKILL."""
    pod.skip(*_POD_NOT_APPLIED)
    pod.refuse("initContainers", "let the command itself do that work")
    pod.refuse("hostPID", "processes see each other anyway")
    _volumes(pod)
    pod.take("restartPolicy", str, "")  # the operator overwrites it with the replica spec's
    grace = pod.natural("terminationGracePeriodSeconds", grace_s)
    containers = pod.children("containers")
    pod.done()
    if len(containers) != 1:
        given = ", ".join(str(container.value.get("name")) for container in containers) or "none"
        raise InvalidSpec(field=pod.at("containers"), given=given, allowed="one container")
    return containers[0], float(grace or 0)


def _container(
    container: Fields, known: Mapping[str, Path], who: Identity, grace_s: float, is_played: bool
) -> Container:
    container.take("name", str, "")
    container.skip(*_CONTAINER_NOT_APPLIED)
    container.refuse("workingDir", "it works in a private folder of its own")
    _mounts(container)
    python = environment_of(container.require("image", str), known, container.at("image"))
    env = _environment(container.children("env"), who)
    if not is_played:
        container.skip("command", "args")
        container.done()
        return Container([], env, python, grace_s)
    command = _words(container, "command") + _words(container, "args")
    if not container.value.get("command"):
        raise InvalidSpec(
            "missing; a process has no image whose entrypoint could be used", field=container.at("command")
        )
    container.done()
    argv = [_expand(word, env) for word in command]
    return Container(resolve_command(argv, python), env, python, grace_s)


def _words(container: Fields, key: str) -> list[str]:
    words: list[object] = container.take(key, list, [])
    for position, word in enumerate(words):
        if not isinstance(word, str):
            raise InvalidSpec(field=f"{container.at(key)}[{position}]", given=word, allowed="a string", fix="quote it")
    return [str(word) for word in words]


# Folders that this machine has anyway; TMPDIR leads each replica to one of its own.
_SCRATCH = ("/dev/shm", *WRITABLE.values())


def _volumes(pod: Fields) -> None:
    """Empty volumes are scratch space, which this machine has anyway; any other volume's content would be missing."""
    for volume in pod.children("volumes"):
        if not isinstance(volume.value.get("emptyDir"), dict):
            raise InvalidSpec(
                f"volume {volume.value.get('name')!r} cannot be honoured by the process executor; "
                f"data go through object storage (an emptyDir at {', '.join(_SCRATCH)} "
                "is allowed)",
                field=volume.path,
                given=volume.value.get("name"),
            )
    pod.skip("volumes")


def _mounts(container: Fields) -> None:
    for mount in container.children("volumeMounts"):
        if mount.value.get("mountPath") not in _SCRATCH:
            allowed = ", ".join(_SCRATCH)
            raise InvalidSpec(f"only {allowed} can be honoured by the process executor", field=mount.at("mountPath"))
    container.skip("volumeMounts")


def _environment(entries: list[Fields], who: Identity) -> dict[str, str]:
    env: dict[str, str] = {}
    for entry in entries:
        name = entry.require("name", str)
        if entry.value.get("valueFrom") is not None:
            if entry.value.get("value"):
                raise InvalidSpec(f"{name} has both value and valueFrom", field=entry.path)
            value = _value_from(entry.child("valueFrom"), name, who)
        else:
            value = _expand(entry.take("value", str, ""), env)
        entry.take("value", str, "")
        entry.done()
        if value is not None:
            env[name] = value
    return env


def _value_from(source: Fields, name: str, who: Identity) -> str | None:
    """A downward-API field, or (for secrets and config maps) this process's own variable of the same name."""
    if "fieldRef" in source.value:
        field = source.child("fieldRef")
        field.skip("apiVersion")
        path = field.require("fieldPath", str)
        source.done()
        return _downward(path, who, field.at("fieldPath"))
    for kind in ("secretKeyRef", "configMapKeyRef"):
        if kind in source.value:
            optional = bool((source.value[kind] or {}).get("optional"))
            source.skip(kind)
            source.done()
            if name not in who.variables and not optional:
                what = kind.removesuffix("KeyRef")
                raise InvalidSpec(
                    f"there is no {what} here", field=source.at(kind), fix=f"set {name} in the environment"
                )
            return who.variables.get(name)
    raise InvalidSpec(
        field=source.path, given=sorted(source.value), allowed="fieldRef, secretKeyRef or configMapKeyRef"
    )


def _downward(path: str, who: Identity, where: str) -> str:
    simple = {
        "metadata.name": who.pod,
        "metadata.namespace": who.namespace,
        "metadata.uid": who.uid,
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
        "spec.nodeName": socket.gethostname(),
        "spec.serviceAccountName": "default",
    }
    if path in simple:
        return simple[path]
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if keyed:
        return (who.labels if keyed[1] == "labels" else who.annotations).get(keyed[2], "")
    raise InvalidSpec(
        f"{path!r} is not known here",
        field=where,
        given=path,
        allowed=f"one of {', '.join(simple)}, metadata.labels['KEY']",
    )


def _expand(text: str, env: Mapping[str, str]) -> str:
    """Kubernetes' `$(NAME)` in commands and values; an unknown name stays as it is, `$$` is one dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)
