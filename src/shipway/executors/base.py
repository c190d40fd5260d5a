"""The surface that both executors share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Manifest = dict[str, Any]  # a custom resource: apiVersion, kind, metadata, spec

DELETED = "Deleted"  # reason of a failure: somebody took the job away while it ran
REPLACED = "Replaced"  # of a service's: it was stopped, or somebody gave it another version

State = Literal["Pending", "Running", "Suspended", "Succeeded", "Failed", "Cancelled", "Ready"]


@dataclass(frozen=True)
class Handle:
    """One job or service that an executor looks after."""

    kind: str
    name: str  # with the attempt's suffix
    namespace: str
    spec_hash: str
    adopted: bool = False  # it was already there
    base: str = field(default="", compare=False)  # without the attempt's suffix; empty: told from the name


@dataclass(frozen=True)
class ReplicaFailure:
    """The replica that failed first, and how."""

    replica: str  # worker-1
    exit_code: int | None
    reason: str  # Error, OOMKilled, Signal 9 (SIGKILL), ImagePullBackOff, Deadline, ...
    last_lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Event:
    """Something worth telling a person who waits."""

    at: float  # seconds since the epoch
    kind: str  # created, adopted, started, restarted, progress, failed, succeeded, ...
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a job ended (or, for a service, that it is Ready)."""

    state: State
    seconds: float = 0.0
    restarts: int = 0
    first_failure: ReplicaFailure | None = None
    message: str = ""
    url: str = ""  # of a service


@dataclass(frozen=True)
class LogLine:
    replica: str
    text: str
    restart: int = 0


OnEvent = Callable[[Event], None]


class Executor(Protocol):
    """Plays a manifest: `kubernetes` on a cluster, `process` on this machine."""

    def ensure(self, manifest: Manifest, *, backoff_limit: int = 0) -> Handle:
        """Creates the job, or adopts the one of the same name and spec hash.

        Running: followed. Succeeded: its outcome is returned by `follow`. Failed: recorded, then a new attempt
        `<name>-r1`, up to `backoff_limit`. Same name, other spec: Conflict.
        """
        ...

    def follow(self, handle: Handle, *, on_event: OnEvent | None = None, deadline_s: float | None = None) -> Outcome:
        """Waits for the end (a service: for Ready); past `deadline_s` the job is cancelled and Failed."""
        ...

    def logs(self, handle: Handle, *, replica: str | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Lines of every replica, while it runs and after."""
        ...

    def cancel(self, handle: Handle) -> None:
        """Ends the job and all its replicas; safe to call twice."""
        ...

    def suspend(self, handle: Handle) -> None:
        """Stops the replicas, keeps the job."""
        ...

    def resume(self, handle: Handle) -> None:
        """Starts a suspended job's replicas again."""
        ...
