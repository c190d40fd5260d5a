"""TFJob, MPIJob and batch Job, reduced to a plan.

The rules are those of the training operator 1.8 and 1.9 (`pkg/controller.v1/{common,tensorflow,mpi}`) and of the MPI
operator 0.6; docs/decisions/0020-process-executor.md says where this machine differs.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipway import labels
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.executors.base import Manifest
from shipway.executors.process.fields import Fields
from shipway.executors.process.plan import JobPlan, MpiPlan, ReplicaPlan
from shipway.executors.process.pods import Container, read_template
from shipway.executors.process.pods import Identity as Pod

FAULT = f"{labels.PREFIX}/fault"  # annotation: what a test wants to go wrong
KINDS = ("TFJob", "MPIJob", "Job")
_PLAYED = ("kubeflow.org/v1 TFJob", "kubeflow.org/v1 MPIJob", "kubeflow.org/v2beta1 MPIJob", "batch/v1 Job")
BATCH_BACKOFF_LIMIT = 6  # a batch Job's default; the launcher of an MPIJob v2beta1 is one
_TF_ROLES = {"Chief": "chief", "Evaluator": "evaluator", "Master": "master", "PS": "ps", "Worker": "worker"}
_RESTART = ("Never", "OnFailure", "Always", "ExitCode")
_CLEAN = ("None", "Running", "All")


@dataclass(frozen=True)
class _Job:
    """What all kinds have in common."""

    name: str
    namespace: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    known: Mapping[str, Path]

    def pod(self, replica: str) -> Pod:
        return Pod(f"{self.name}-{replica}", self.namespace, self.uid, self.labels, self.annotations)


def read_job(manifest: Manifest, name: str, attempt: int, known: Mapping[str, Path]) -> tuple[JobPlan, list[str]]:
    """The plan of a job, and the paths of fields that are not applied here.

    Args:
        manifest: A TFJob, MPIJob or batch Job.
        name: The job's base name, as `base_name` gives it.
        attempt: 0 for the first.
        known: Image to interpreter.

    Raises:
        InvalidSpec: names the path of the field that is wrong or cannot be honoured.
    """
    notes: list[str] = []
    top = Fields(manifest, "", notes)
    kind, version = top.require("kind", str), top.require("apiVersion", str)
    metadata = top.child("metadata")
    spec = top.child("spec")
    top.skip("status")
    top.done()
    annotations = metadata.take("annotations", dict, {})
    if recipe_image := annotations.get(labels.RECIPE_IMAGE):
        known = {str(recipe_image): Path(sys.executable), **known}
    job = _Job(
        name=identity.attempt_name(name, attempt),
        namespace=metadata.take("namespace", str, "default"),
        uid=str(uuid.uuid4()),
        labels=metadata.take("labels", dict, {}),
        annotations=annotations,
        known=known,
    )
    if (kind, version) == ("TFJob", "kubeflow.org/v1"):
        parts = _tfjob(spec, job)
    elif kind == "MPIJob" and version in ("kubeflow.org/v1", "kubeflow.org/v2beta1"):
        parts = _mpijob(spec, job, version)
    elif (kind, version) == ("Job", "batch/v1"):
        parts = _batch_job(spec, job)
    else:
        raise InvalidSpec(
            "the process executor does not play", field="kind", given=f"{version} {kind}", allowed=_PLAYED
        )
    spec.done()
    faults = [clause.strip() for clause in str(job.annotations.get(FAULT, "")).split(";") if clause.strip()]
    common = {
        "name": job.name,
        "base": name,
        "attempt": attempt,
        "kind": kind,
        "namespace": job.namespace,
        "spec_hash": identity.spec_hash(manifest),
        "uid": job.uid,
        "faults": faults,
        "mistakes_are_final": job.annotations.get(labels.MISTAKES_ARE_FINAL) == "true",
    }
    return JobPlan(**{**common, **parts}), notes


def _run_policy(spec: Fields, key: str = "runPolicy") -> dict[str, Any]:
    policy = spec.child(key)
    policy.skip("schedulingPolicy")
    manager = policy.take("managedBy", str, "kubeflow.org/training-operator")
    if manager not in ("kubeflow.org/training-operator", "kubeflow.org/mpi-operator"):
        raise InvalidSpec(
            f"{manager!r} would play this job, not the operator", field=policy.at("managedBy"), given=manager
        )
    parts = {
        "clean_pods": policy.choose("cleanPodPolicy", _CLEAN, "None"),
        "backoff_limit": policy.natural("backoffLimit", None),
        "active_deadline_s": policy.natural("activeDeadlineSeconds", None, least=1),
        "ttl_s": policy.natural("ttlSecondsAfterFinished", None),
        "suspended": policy.take("suspend", bool, False),
    }
    policy.done()
    return parts


def _replicas(
    spec: Fields, role: str, container: str, job: _Job, *, is_played: bool = True
) -> tuple[list[ReplicaPlan], Container]:
    """One entry of the replica specs, spread into its replicas; a command that is not played may be missing."""
    count = spec.natural("replicas", 1) or 0
    policy = spec.choose("restartPolicy", _RESTART, "Never")
    template = spec.take("template", dict, {})
    spec.done()
    replicas, main = [], None
    for index in range(max(count, 1)):
        name = f"{role}-{index}"
        notes = spec.notes if index == 0 else []
        main = read_template(
            Fields(template, spec.at("template"), notes), container, job.known, job.pod(name), is_played
        )
        replicas.append(ReplicaPlan(name, role, index, main.argv, main.env, policy, main.grace_s))
    assert main is not None
    return replicas[:count], main


def _tfjob(spec: Fields, job: _Job) -> dict[str, Any]:
    spec.refuse("enableDynamicWorker", "TF_CONFIG would need a sparse cluster")
    policy = spec.choose("successPolicy", ("", "AllWorkers"), "")
    run = _run_policy(spec)
    roles = spec.child("tfReplicaSpecs")
    replicas: list[ReplicaPlan] = []
    python: Path | None = None
    given = {name.lower(): name for name in roles.value}
    for title, role in _TF_ROLES.items():
        if role in given:  # the operator's webhook accepts any case
            group, container = _replicas(roles.child(given[role]), role, "tensorflow", job)
            replicas += group
            python = python or container.python
        else:
            roles.skip(title)
    roles.done()
    if "chief" in given and "master" in given:
        raise InvalidSpec("Chief and Master together", field=roles.path, allowed="at most one of them")
    leader = next((role for role in ("chief", "master") if role in given), "")
    if python is None or not any(r.role == (leader or "worker") for r in replicas):
        raise InvalidSpec(
            field=roles.path, given=sorted(roles.value), allowed="a Worker or Chief with at least one replica"
        )
    if leader and sum(r.role == leader for r in replicas) > 1:
        raise InvalidSpec(field=f"{roles.at(given[leader])}.replicas", allowed="1")
    success = "chief" if leader else "all-workers" if policy == "AllWorkers" else "worker-0"
    return run | {
        "replicas": replicas,
        "success": success,
        "distributed": len(replicas) > 1,
        "bin": str(python.parent),
        "python": str(python),
    }


def _batch_job(spec: Fields, job: _Job) -> dict[str, Any]:
    """A batch Job of one pod; Katib's plain trials are such."""
    spec.skip("manualSelector", "selector", "completionMode", "podReplacementPolicy")
    for field in ("parallelism", "completions"):
        if spec.natural(field, 1) != 1:
            raise InvalidSpec(
                field=spec.at(field), given=spec.value[field], allowed="1", fix="use a TFJob for several replicas"
            )
    for field in ("podFailurePolicy", "backoffLimitPerIndex", "maxFailedIndexes", "successPolicy", "managedBy"):
        spec.refuse(field, "only backoffLimit is")
    parts = {
        "backoff_limit": spec.natural("backoffLimit", BATCH_BACKOFF_LIMIT),
        "active_deadline_s": spec.natural("activeDeadlineSeconds", None, least=1),
        "ttl_s": spec.natural("ttlSecondsAfterFinished", None),
        "suspended": spec.take("suspend", bool, False),
    }
    template = spec.child("template")
    pod = Fields(template.value.get("spec"), template.at("spec"), spec.notes)
    policy = pod.choose("restartPolicy", ("Never", "OnFailure"), "")
    container = read_template(template, _only_container(template, "main"), job.known, job.pod("pod-0"))
    return parts | {
        "replicas": [ReplicaPlan("pod-0", "pod", 0, container.argv, container.env, policy, container.grace_s)],
        "success": "pod",
        "retries_failures": policy == "Never",
        "bin": str(container.python.parent),
        "python": str(container.python),
    }


def _mpijob(spec: Fields, job: _Job, version: str) -> dict[str, Any]:
    is_v2 = version == "kubeflow.org/v2beta1"
    if is_v2:
        spec.skip("sshAuthMountPath", "launcherCreationPolicy")
        spec.choose("mpiImplementation", ("OpenMPI",), "OpenMPI")
        spec.refuse("runLauncherAsWorker", "the launcher has no rank of its own here")
    else:
        spec.skip("cleanPodPolicy")
    container_name = "mpi" if is_v2 else spec.take("mainContainer", str, "mpi")
    slots = spec.natural("slotsPerWorker", 1, least=1) or 1
    run = _run_policy(spec)
    roles = spec.child("mpiReplicaSpecs")
    launchers, launcher = _role(roles, "Launcher", container_name, job)
    workers, worker = _role(roles, "Worker", container_name, job)
    roles.done()
    if len(launchers) != 1:
        raise InvalidSpec(field=f"{roles.at('Launcher')}.replicas", given=len(launchers), allowed="1")
    if not workers:
        raise InvalidSpec(field=f"{roles.at('Worker')}.replicas", given=0, allowed="at least 1")
    if is_v2 and run["backoff_limit"] is None:
        run["backoff_limit"] = BATCH_BACKOFF_LIMIT
    return run | {
        "replicas": launchers,
        "success": "launcher",
        "retries_failures": is_v2,
        "bin": str(launcher.python.parent),
        "python": str(launcher.python),
        "mpi": MpiPlan(slots=[slots] * len(workers), worker_env=worker.env),
    }


def _role(roles: Fields, title: str, name: str, job: _Job) -> tuple[list[ReplicaPlan], Container]:
    if title not in roles.value:
        raise InvalidSpec("missing; an MPIJob has a Launcher and a Worker", field=roles.at(title))
    spec = roles.child(title)
    # Both operators take the only container, whatever its name; the SDK calls it `mpi`.
    called = _only_container(Fields(spec.value.get("template") or {}, spec.at("template"), []), name)
    return _replicas(spec, title.lower(), called, job, is_played=title == "Launcher")


def _only_container(template: Fields, default: str) -> str:
    """The name of the pod's first container."""
    containers = (template.value.get("spec") or {}).get("containers") or []
    first = containers[0].get("name") if containers and isinstance(containers[0], dict) else None
    return str(first or default)
