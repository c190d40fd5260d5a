"""What is added to a manifest before it is applied; its spec hash is taken from what was given."""

from __future__ import annotations

import copy
import os
from typing import Any

from shipway import labels
from shipway.context import Context
from shipway.executors import identity
from shipway.executors.base import Manifest
from shipway.executors.kubernetes.accounts import REPLICA, give_account, needs_token
from shipway.executors.kubernetes.kinds import KINDS, Kind, templates
from shipway.store_secret import DEFAULT_SECRET, REPLICA_SECRET, STORE_SECRET

JOB = f"{labels.PREFIX}/job"  # label of a job and of its pods: the attempt's name
BASE = f"{labels.PREFIX}/base"  # label of a job: the name of all its attempts
PEERS = f"{labels.PREFIX}/peers"  # label of pods that may speak to each other: the name of what they are all part of
INVOCATION = f"{labels.PREFIX}/invocation"  # annotation: what the caller typed
REPLICA_INDEX = "training.kubeflow.org/replica-index"  # label that both operators put on pods
_ONE_OF_A_KIND = ("launcher", "pod")  # roles whose pods carry no index


def rendered(
    manifest: Manifest,
    kind: Kind,
    context: Context,
    attempt: int,
    owner: dict[str, Any] | None,
    invocation: str,
    spec_hash: str = "",
) -> Manifest:
    """The object to create.

    Added are: the attempt's name, our labels on the job and its pods, the run as owner, each pod's account where the
    manifest names none, each replica's SHIPWAY_* variables, and what lets a failure be told: a container's last lines
    as its termination message, and pods that are kept when they have ended (cleanPodPolicy Running instead of All: what
    has ended holds no GPU, and what still runs is ended all the same). The spec hash is the manifest's own where none
    is given.
    """
    made = copy.deepcopy(manifest)
    base = identity.base_name(manifest)
    name = identity.attempt_name(base, attempt)
    metadata = made["metadata"]
    metadata["name"], metadata["namespace"] = name, metadata.get("namespace") or context.namespace
    added = {labels.MANAGED_BY: "shipway", JOB: name, BASE: base, labels.ATTEMPT: str(attempt)}
    metadata["labels"] = {**(metadata.get("labels") or {}), **added}
    notes = {labels.SPEC_HASH: spec_hash or identity.spec_hash(manifest), INVOCATION: invocation}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    policy = (made.get("spec") or {}).get("runPolicy")
    if isinstance(policy, dict) and policy.get("cleanPodPolicy") == "All":
        policy["cleanPodPolicy"] = "Running"
    for role, template in templates(kind, made):
        _name(template, kind, role, {labels.MANAGED_BY: "shipway", JOB: name, PEERS: name})
        _complete(template, _environment(role, base, name, attempt, context))
    _complete_trials(made, name)
    return made


def _complete_trials(experiment: dict[str, Any], name: str) -> None:
    """Katib makes an Experiment's trials from its template: nobody else could tell them who they are, and where the
    store is. They bear no job's label: a trial's pod is no replica of the Experiment."""
    trial = ((experiment.get("spec") or {}).get("trialTemplate") or {}).get("trialSpec") or {}
    kind = KINDS.get((str(trial.get("apiVersion")), str(trial.get("kind"))))
    if kind is None:
        return
    for role, template in templates(kind, trial):
        _name(template, kind, role, {labels.MANAGED_BY: "shipway", PEERS: name})
        for container in (template.get("spec") or {}).get("containers") or []:
            with_store(container)


def _name(template: dict[str, Any], kind: Kind, role: str, ours: dict[str, str]) -> None:
    """Whose a pod is, by its labels, and who it is, by its account."""
    described = template.setdefault("metadata", {})
    # A mesh's sidecar keeps a finished replica's pod running, and breaks mpirun.
    described["labels"] = {"sidecar.istio.io/inject": "false", **(described.get("labels") or {}), **ours}
    if not needs_token(kind, role):
        give_account(template.setdefault("spec", {}), REPLICA)


def _complete(template: dict[str, Any], ours: list[dict[str, Any]]) -> None:
    for container in (template.get("spec") or {}).get("containers") or []:
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
        with_store(container)
        given = container.get("env") or []
        names = {variable.get("name") for variable in given}
        container["env"] = [variable for variable in ours if variable["name"] not in names] + given


def with_store(container: dict[str, Any], own: str = REPLICA_SECRET) -> None:
    """Lets a container find object storage by a Secret of the namespace, where its manifest names none.

    Args:
        own: Variable that names a Secret for such containers alone; one so named must be there.
    """
    given = container.get("envFrom") or []
    if not any("secretRef" in source for source in given):
        secret: dict[str, Any] = {"name": os.environ.get(STORE_SECRET) or DEFAULT_SECRET, "optional": True}
        if os.environ.get(own):
            secret = {"name": os.environ[own]}
        container["envFrom"] = [*given, {"secretRef": secret}]


def _environment(role: str, base: str, name: str, attempt: int, context: Context) -> list[dict[str, Any]]:
    replica = f"{role}-0"
    variables: list[dict[str, Any]] = []
    if role not in _ONE_OF_A_KIND:
        field = {"fieldRef": {"fieldPath": f"metadata.labels['{REPLICA_INDEX}']"}}
        variables.append({"name": "SHIPWAY_REPLICA_INDEX", "valueFrom": field})
        replica = f"{role}-$(SHIPWAY_REPLICA_INDEX)"
    # A file system that all replicas share isn't there: progress goes through the store.
    progress = f"{context.store_uri}/jobs/{name}/progress/$(SHIPWAY_REPLICA).jsonl"
    plain = {
        "SHIPWAY_REPLICA": replica,
        "SHIPWAY_JOB": base,
        "SHIPWAY_ATTEMPT": str(attempt),
        "SHIPWAY_RUN": context.run,
        "SHIPWAY_STORE": context.store_uri,
        "SHIPWAY_PROGRESS": progress,
    }
    return variables + [{"name": key, "value": value} for key, value in plain.items()]


def invocation() -> str:
    """What the caller typed, when it says so."""
    return os.environ.get("SHIPWAY_INVOCATION", "")
