"""What the supervisor plays: a manifest, checked and reduced to processes and rules."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReplicaPlan:
    """One process and what the operator would do when it ends.

    Attributes:
        name: `worker-1`.
        role: TF_CONFIG's task type, `worker`.
        index: Position among its role.
        argv: The command, its first word a path on this machine.
        env: What the container's `env` says, nothing ambient.
        restart_policy: Never, OnFailure, Always or ExitCode.
        grace_s: Between SIGTERM and SIGKILL.
    """

    name: str
    role: str
    index: int
    argv: list[str]
    env: dict[str, str]
    restart_policy: str
    grace_s: float


@dataclass(frozen=True)
class MpiPlan:
    """How the launcher's `mpirun` finds its ranks on this machine.

    Attributes:
        slots: Of each worker, in order.
        worker_env: The worker container's `env`: what a rank sees beside what `mpirun` hands on.
        grace_s: Of the worker's pods.
    """

    slots: list[int]
    worker_env: dict[str, str]


@dataclass(frozen=True)
class JobPlan:
    """A job, ready to be played.

    Attributes:
        name: With the attempt's suffix.
        base: Without it; checkpoints lie under this name.
        success: Who decides: `chief`, `worker-0`, `all-workers`, `launcher` or `pod`.
        backoff_limit: None: without a limit.
        retries_failures: A batch Job (an MPIJob v2beta1's launcher is one): every failure is tried again.
        clean_pods: None, Running or All: what becomes of the rest when the job has ended.
        bin: Folder that stands first on PATH: the environment that stands for the image.
        faults: Clauses of the fault annotation.
        mistakes_are_final: A replica that ends with 2 ends the job, whatever its restart policy: the annotation.
    """

    name: str
    base: str
    attempt: int
    kind: str
    namespace: str
    spec_hash: str
    uid: str
    replicas: list[ReplicaPlan]
    success: str
    distributed: bool = False
    backoff_limit: int | None = None
    retries_failures: bool = False
    clean_pods: str = "None"
    active_deadline_s: int | None = None
    ttl_s: int | None = None
    suspended: bool = False
    bin: str = ""
    python: str = ""
    mpi: MpiPlan | None = None
    faults: list[str] = field(default_factory=list)
    mistakes_are_final: bool = False

    def to_json(self) -> str:
        """For the job's folder; holds the container's environment, so the file is 0600."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> JobPlan:
        """What `to_json` wrote."""
        raw: dict[str, Any] = json.loads(text)
        raw["replicas"] = [ReplicaPlan(**replica) for replica in raw["replicas"]]
        raw["mpi"] = MpiPlan(**raw["mpi"]) if raw["mpi"] else None
        return cls(**raw)
