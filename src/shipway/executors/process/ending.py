"""How a job ends, and who is named for it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from shipway.executors.process.folder import JobFolder, last_lines
from shipway.executors.process.replica import Replica
from shipway.executors.process.rules import exit_code_of, reason_of

LAST_LINES = 20
LOST_PEER = 143
SAME_INCIDENT_S = 5.0


@dataclass
class Ending:
    """A job on its way to its last state.

    Attributes:
        lingers: The outcome is written, and cleanPodPolicy None leaves replicas running.
        kill_at: When patience ends, by the monotonic clock.
    """

    state: str
    message: str
    reason: str
    kill_at: float
    lingers: bool = False


class Failures:
    """Which replica failed first.

    One lost worker takes its peers with it, so a failure belongs to the first one as long as not all replicas have
    been alive together since for a while.

    Attributes:
        first: As `ReplicaFailure`, None while nothing failed.
    """

    def __init__(self, folder: JobFolder, replicas: list[Replica]) -> None:
        self.folder = folder
        self.replicas = replicas
        self.first: dict[str, Any] | None = None

    @staticmethod
    def likely_first(replica: Replica) -> tuple[bool, bool]:
        """Sorts replicas that ended within one look: a lost peer (143, RetryableError) and a success come later."""
        code = replica.status.exit_code
        return code == 0, code == LOST_PEER

    def note(self, replica: Replica) -> None:
        """A replica has just failed."""
        started = max(other.started_at for other in self.replicas)
        all_were_up = all(other.is_alive or other is replica for other in self.replicas)
        is_new = all_were_up and time.monotonic() - started > SAME_INCIDENT_S
        if self.first is None or is_new or len(self.replicas) == 1:
            self.first = first_failure_of(self.folder, replica)

    def conclude(self, ending: Ending) -> None:
        """Settles who is named for the job's end: nobody for a success, the leader for a deadline."""
        if ending.state == "Succeeded":
            self.first = None
        elif ending.state == "Failed" and (self.first is None or ending.reason):
            leader = self.replicas[0] if self.replicas else None
            self.first = first_failure_of(self.folder, leader, ending.reason or "Error")


def first_failure_of(folder: JobFolder, replica: Replica | None, reason: str = "") -> dict[str, Any]:
    """Names the replica, how it ended, and its last lines, as `ReplicaFailure` has them.

    For an MPI launcher that is the rank that failed first, where one left a record: `mpirun` only says that something
    failed.
    """
    if replica is None:
        return {"replica": "", "exit_code": None, "reason": reason, "last_lines": []}
    rank = _first_rank(folder, replica) if replica.plan.role == "launcher" and not reason else None
    if rank is not None:
        name, returncode = rank
        return {
            "replica": name,
            "exit_code": exit_code_of(returncode),
            "reason": reason_of(returncode),
            "last_lines": last_lines(folder.replica(name) / f"{replica.start}.log", LAST_LINES),
        }
    end = replica.last_end
    has_failed = end is not None and not replica.stopped_by_us
    return {
        "replica": replica.name,
        "exit_code": end.exit_code if has_failed and end else None,
        "reason": reason or (end.reason if end else "Error"),
        "last_lines": last_lines(replica.log, LAST_LINES),
    }


def _first_rank(folder: JobFolder, launcher: Replica) -> tuple[str, int] | None:
    """The rank whose failure came first, and its return code."""
    ends = []
    for path in folder.path.glob(f"replicas/worker-*/{launcher.start}.end.json"):
        end = json.loads(path.read_text(encoding="utf-8"))
        if end["returncode"]:
            ends.append((end["at"], path.parent.name, end["returncode"]))
    return min(ends)[1:] if ends else None
