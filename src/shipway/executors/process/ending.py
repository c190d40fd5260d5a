"""How a job ends, and who is named for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shipway.executors.process.folder import JobFolder, last_lines
from shipway.executors.process.replica import Replica

LAST_LINES = 20


@dataclass
class Ending:
    """A job on its way to its last state.

    Attributes:
        lingers: The outcome is written, and cleanPodPolicy None leaves replicas running.
        kill_at: Seconds since the epoch at which patience ends.
    """

    state: str
    message: str
    reason: str
    kill_at: float
    lingers: bool = False


def first_failure_of(folder: JobFolder, replica: Replica | None, reason: str = "") -> dict[str, Any]:
    """Names the replica, how it ended, and its last lines, as `ReplicaFailure` has them."""
    if replica is None:
        return {"replica": "", "exit_code": None, "reason": reason, "last_lines": []}
    end = replica.last_end
    has_failed = end is not None and not replica.stopped_by_us
    return {
        "replica": replica.name,
        "exit_code": end.exit_code if has_failed and end else None,
        "reason": reason or (end.reason if end else "Error"),
        "last_lines": last_lines(replica.log, LAST_LINES),
    }
