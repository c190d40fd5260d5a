"""How the training operator judges: pure functions of what the replicas did.

Sources: training operator 1.8 `pkg/core/job.go` (backoff), `pkg/controller.v1/tensorflow/tfjob_controller.go`
(UpdateJobStatus), `pkg/util/train/train_util.go` (exit codes); kubelet for OnFailure and Always.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

FIRST_RETRYABLE = 128
MAX_DELAY_S = 5.0

Phase = Literal["Pending", "Running", "Restarting", "Succeeded", "Failed", "Stopped"]


@dataclass
class Status:
    """One replica, as far as the rules care.

    Attributes:
        restarts: Those that count: not a resume after a suspension, not a second try for a port.
        failures: How often it ended with another code than 0.
    """

    name: str
    role: str
    index: int
    policy: str
    phase: Phase = "Pending"
    exit_code: int | None = None
    restarts: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Verdict:
    """What becomes of the job."""

    state: Literal["Running", "Succeeded", "Failed"]
    message: str = ""


def exit_code_of(returncode: int) -> int:
    """A container's exit code: 128 + N for a process that signal N ended."""
    return 128 - returncode if returncode < 0 else returncode


def reason_of(returncode: int) -> str:
    """`Signal 9 (SIGKILL)`, `Error` or `Completed`."""
    if returncode >= 0:
        return "Error" if returncode else "Completed"
    try:
        return f"Signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"Signal {-returncode}"


def after_exit(policy: str, exit_code: int, *, retries_failures: bool = False) -> Literal["done", "restart", "failed"]:
    """What a replica's own restart policy makes of its end.

    Args:
        policy: Never, OnFailure, Always, ExitCode.
        exit_code: 0-255.
        retries_failures: A batch Job stands above the pod and starts another.
    """
    if policy == "Always":
        return "restart"
    if exit_code == 0:
        return "done"
    if policy == "OnFailure" or (policy == "ExitCode" and exit_code >= FIRST_RETRYABLE) or retries_failures:
        return "restart"
    return "failed"


def exceeds_backoff(limit: int | None, statuses: Iterable[Status], *, retries_failures: bool = False) -> bool:
    """Whether the restarts so far break the backoff limit; asked when one more is due, that one included.

    OnFailure and Always: the restarts of all replicas together reach the limit (PastBackoffLimit: `>= limit`, and
    `> 0` for a limit of 0). ExitCode: the operator recreates pods and hardly ever counts them; here no replica is
    restarted more than `limit` times, so that one lost worker, which takes its peers with it, counts once.
    """
    if limit is None:
        return False
    kept = list(statuses)
    if retries_failures:
        return any(status.failures > limit for status in kept)
    in_place = sum(status.restarts for status in kept if status.policy in ("OnFailure", "Always"))
    if in_place and in_place >= max(limit, 1):
        return True
    return any(status.restarts > limit for status in kept if status.policy == "ExitCode")


def restart_delay(quick_deaths: int) -> float:
    """Seconds before the next start: none after the first death, then doubling, as a kubelet does (10 s to 300 s
    there, 0.1 s to 5 s here)."""
    return 0.0 if quick_deaths <= 1 else min(MAX_DELAY_S, 0.1 * 2.0 ** (quick_deaths - 2))


def judge(success: str, statuses: Iterable[Status]) -> Verdict:
    """The job's state, replica by replica, in the operator's order: chief first, so that a chief that ends in the
    moment a worker fails makes the job Succeeded.

    Args:
        success: `chief`, `worker-0`, `all-workers`, `launcher` or `pod`.
        statuses: Of all replicas.
    """
    kept = list(statuses)
    if success in ("chief", "launcher", "pod"):
        roles = ("chief", "master") if success == "chief" else (success,)
        deciding = [status for status in kept if status.role in roles]
    else:
        deciding = [status for status in kept if status.role == "worker"]
    if success == "worker-0":
        first = [status for status in deciding if status.index == 0]
        if first and first[0].phase == "Succeeded":
            return Verdict("Succeeded", "worker-0 completed")
    elif deciding and all(status.phase == "Succeeded" for status in deciding):
        return Verdict("Succeeded", f"{', '.join(status.name for status in deciding)} completed")
    failed = [status for status in kept if status.phase == "Failed"]
    if failed:
        roles_failed = sorted({status.role for status in failed})
        counts = ", ".join(f"{sum(s.role == role for s in failed)} {role.capitalize()}" for role in roles_failed)
        return Verdict("Failed", f"{counts} replica(s) failed")
    return Verdict("Running")
