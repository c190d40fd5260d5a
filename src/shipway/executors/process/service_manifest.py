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
from shipway.executors.process.environments import environments
from shipway.executors.process.fields import Fields
from shipway.executors.process.pods import Identity, read_predictor

KIND = "InferenceService"
LOCAL_PORT = f"{labels.PREFIX}/local-port"  # annotation: the port on this machine, stable over versions

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


def read_manifest(manifest: Manifest, variables: Mapping[str, str] | None = None) -> Launch:
    """The command that an InferenceService stands for.

    Args:
        manifest: It.
        variables: Environment that the predictor inherits; default: what this process would hand on.

    Raises:
        InvalidSpec: names the field that cannot be honoured here.
    """
    notes: list[str] = []
    top = Fields(manifest, "", notes)
    top.choose("kind", (KIND,), "")
    top.require("apiVersion", str)
    metadata, spec = top.child("metadata"), top.child("spec")
    top.skip("status")
    top.done()
    predictor = spec.child("predictor")
    spec.done()
    name = metadata.take("name", str, "")
    if not name or "/" in name or name.startswith("."):
        raise InvalidSpec(field="metadata.name", given=name, allowed="a name for an endpoint")
    annotations = metadata.take("annotations", dict, {})
    who = Identity(
        pod=f"{name}-predictor",
        namespace=metadata.take("namespace", str, "default"),
        uid="",
        labels=metadata.take("labels", dict, {}),
        annotations=annotations,
        variables=caller_env() if variables is None else variables,
    )
    container = read_predictor(predictor, environments(), who)
    return Launch(
        name=name,
        spec_hash=str(annotations.get(labels.SPEC_HASH) or spec_hash(manifest)),
        command=container.argv,
        env=container.env,
        port=_port(annotations.get(LOCAL_PORT)),
        grace_s=container.grace_s,
        start_deadline_s=container.start_s,
        not_applied=notes,
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


def _port(given: Any) -> int | None:
    if given in (None, ""):
        return None
    if not str(given).isdigit() or not 0 < int(given) < 65536:
        raise InvalidSpec(field=f"metadata.annotations.{LOCAL_PORT}", given=given, allowed="a port (1-65535)")
    return int(given)
