"""What a follower knows of one job: fed with changes, it gives events, and in the end the outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipway import labels
from shipway.errors import UserError
from shipway.executors.base import Event, Handle, OnEvent, Outcome, ReplicaFailure, State
from shipway.executors.kubernetes.states import (
    LOST_PEER,
    PULLING,
    STUCK_S,
    PodState,
    failure_of,
    job_state,
    last_start,
    pod_state,
    times,
)
from shipway.executors.kubernetes.watching import Change

SAME_INCIDENT_S = 5.0
NEVER_STARTS = ("StartError", "ContainerCannotRun")  # a command or working folder that the image does not have
LATE = "longer than specified deadline"  # so both operators and the batch controller say it
LEADERS = ("chief", "master", "launcher", "worker", "pod")


@dataclass
class _Replica:
    """One replica over its starts.

    Attributes:
        starts: Pods, and starts in place, that it had before the present one.
        waiting_since: By the monotonic clock, for `PodState.waiting`.
    """

    pod: PodState
    starts: int = 0
    has_run: bool = False
    waiting_since: float = 0.0


@dataclass
class View:
    """A job as its follower sees it."""

    handle: Handle
    on_event: OnEvent
    job: Mapping[str, Any] | None = None
    is_gone: bool = False
    restarts: int = 0
    was_seen: bool = False
    replicas: dict[str, _Replica] = field(default_factory=dict)
    failures: list[tuple[float, PodState]] = field(default_factory=list)  # in the order of their arrival
    taken: list[PodState] = field(default_factory=list)  # pods that were taken away while they ran
    earlier: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)  # last lines of replaced starts
    _ended: set[tuple[str, int]] = field(default_factory=set)
    _last_lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _state: State = "Pending"
    _told: str = ""

    @property
    def state(self) -> State:
        return job_state(self.job)[0] if self.job is not None else "Pending"

    @property
    def uid(self) -> str:
        return str(self.job["metadata"]["uid"]) if self.job is not None else ""

    @property
    def pods(self) -> list[PodState]:
        """Each replica's newest."""
        return [replica.pod for replica in self.replicas.values()]

    def take(self, change: Change) -> None:
        """Learns of a change."""
        if change.kind == "Pod":
            self._take_pod(change)
            return
        self.was_seen = True
        if change.gone:
            self.is_gone = self.job is None or change.object["metadata"]["uid"] == self.uid
            return
        self.job, self.is_gone = change.object, False
        state = self.state
        if state != self._state:
            if state in ("Suspended", "Succeeded", "Failed"):
                self.tell(state.lower(), f"{self.handle.kind} {self.handle.name} {state.lower()}")
            elif self._state == "Suspended":
                self.tell("resumed", f"{self.handle.kind} {self.handle.name} runs again")
            self._state = state

    def tell(self, kind: str, message: str, **data: Any) -> None:
        """An event for whoever waits."""
        self.on_event(Event(time.time(), kind, message, data))

    def tell_once(self, kind: str, message: str, **data: Any) -> None:
        """Likewise, but not the same again."""
        if message != self._told:
            self._told = message
            self.tell(kind, message, **data)

    def stuck(self, now: float) -> ReplicaFailure | None:
        """A replica that waits for what will hardly come: an image that isn't there, a secret that is missing."""
        for replica in self.replicas.values():
            pod = replica.pod
            patience = STUCK_S.get(pod.waiting)
            if patience is not None and not pod.is_leaving and now - replica.waiting_since >= patience:
                return ReplicaFailure(pod.replica, None, pod.waiting, [pod.message] if pod.message else [])
        return None

    def doomed(self) -> tuple[str, ReplicaFailure] | None:
        """Why the operator would start a replica again without end, and which: a command that cannot be started, or
        restarts beyond backoffLimit, which it hardly ever counts under ExitCode."""
        for _, pod in self.failures[-1:]:
            if pod.reason in NEVER_STARTS:
                lines = [pod.message] if pod.message else list(pod.last_lines)
                return f"{pod.replica} cannot be started: {pod.reason}", ReplicaFailure(
                    pod.replica, 127, pod.reason, lines
                )
        notes = ((self.job or {}).get("metadata") or {}).get("annotations") or {}
        for _, pod in self.failures if notes.get(labels.MISTAKES_ARE_FINAL) == "true" else ():
            if pod.exit_code == UserError.exit_code and not self._has_end():
                told = f"{pod.replica} ended with a user's mistake, which another start would not mend"
                return told, failure_of(pod)
        limit = ((self.job or {}).get("spec", {}).get("runPolicy") or {}).get("backoffLimit")
        if limit is None or self._has_end():
            return None
        for name, replica in self.replicas.items():
            if replica.starts > int(limit):
                first = self._first() or ReplicaFailure(name, None, "Error", [])
                return f"{name} ended again and backoffLimit {limit} is reached", first
        return None

    def waiting(self) -> PodState | None:
        """A replica that does not run and says why, if there is one."""
        return next((replica.pod for replica in self.replicas.values() if replica.pod.waiting), None)

    def outcome(self, state: State, message: str = "", reason: str = "") -> Outcome:
        """The outcome, with the replica that failed first.

        Args:
            state: The job's last.
            message: Default: what the operator says.
            reason: Given where we ended it (Deadline): then the leader is named, and nobody where nothing ran.
        """
        text = message or (job_state(self.job)[1] if self.job is not None else "")
        if state == "Failed" and not reason and LATE in text:  # the pods that it took away are no failures
            reason, text = "Deadline", f"not finished within {self._limit()}: {text}"
        failure = None
        if state == "Failed":
            failure = self._named(reason) if reason else self._first()
        started, ended = times(self.job) if self.job is not None else (0.0, 0.0)
        return Outcome(state, max(0.0, ended - started) if ended else 0.0, self.restarts, failure, text)

    # -- private ---------------------------------------------------------------------------------------------------

    def _take_pod(self, change: Change) -> None:
        pod = pod_state(change.object)
        replica = self.replicas.get(pod.replica)
        if replica is not None and pod.uid != replica.pod.uid:
            if change.gone:
                return  # the end of a pod that was replaced already
            self._restarted(replica, pod)
        elif replica is None:
            if change.gone:
                return
            replica = self.replicas[pod.replica] = _Replica(pod, waiting_since=time.monotonic())
        elif pod.start > replica.pod.start:
            before = last_start(change.object)
            if before is not None:
                self._note_end(before, replica)
            self._restarted(replica, pod)
        if pod.waiting != replica.pod.waiting:
            replica.waiting_since = time.monotonic()
        replica.pod = pod
        if pod.waiting:
            text = f"{pod.replica} waits: {pod.waiting}: {pod.message}".rstrip(": ")
            self.tell_once("waiting", text, replica=pod.replica, reason=pod.waiting)
        if pod.phase == "Running" and pod.exit_code is None and not pod.waiting and not replica.has_run:
            replica.has_run = True
            self.tell("started", f"{pod.replica} started on {pod.node}", replica=pod.replica, restart=replica.starts)
        # The operator may call the job failed at this moment, before the pod has ended; the two watches keep no order
        # between them, so a pod that a drain took counts behind the job's end too. Others leave with the job.
        if pod.is_leaving and pod.exit_code is None and (pod.disrupted or not self._has_end()):
            self.taken.append(pod)
        has_ended = pod.exit_code is not None or pod.phase in ("Succeeded", "Failed")
        if has_ended or (change.gone and not replica.pod.is_leaving):
            self._note_end(pod, replica)

    def _restarted(self, replica: _Replica, pod: PodState) -> None:
        if self._state == "Suspended":
            replica.has_run = False
            return  # a resume is no restart that counts
        before = self._last_lines.pop(replica.pod.uid, ())
        if before and pod.uid != replica.pod.uid:
            self.earlier[(pod.replica, replica.starts)] = before
        replica.starts += 1
        self.restarts += 1
        replica.has_run = False
        data = {"replica": pod.replica, "restart": replica.starts}
        self.tell("restarted", f"{pod.replica} was started again ({replica.starts})", **data)

    def _note_end(self, pod: PodState, replica: _Replica) -> None:
        if (pod.uid, pod.start) in self._ended:
            return
        self._ended.add((pod.uid, pod.start))
        self._last_lines[pod.uid] = pod.last_lines
        code = "" if pod.exit_code is None else f" with exit code {pod.exit_code}"
        reason = f" ({pod.reason})" if pod.reason else ""
        data = {"replica": pod.replica, "exit_code": pod.exit_code, "restart": replica.starts}
        self.tell("ended", f"{pod.replica} ended{code}{reason}", **data)
        if pod.has_failed and not (pod.is_leaving and self._has_end()):
            self.failures.append((time.monotonic(), pod))

    def _has_end(self) -> bool:
        return self._state in ("Succeeded", "Failed", "Suspended")

    def _first(self) -> ReplicaFailure | None:
        """The failure that began the last incident: one lost replica takes its peers with it."""
        if not self.failures and self.taken:
            pod = self.taken[0]
            return ReplicaFailure(pod.replica, None, pod.disrupted or "Deleted", [])
        if not self.failures:
            waiting = self.waiting()
            return failure_of(waiting) if waiting else None
        last = self.failures[-1][0]
        incident = [pair for pair in self.failures if last - pair[0] <= SAME_INCIDENT_S or len(self.replicas) == 1]
        if len(self.replicas) == 1:
            incident = incident[-1:]
        # Kubernetes tells ends by the second: among equals what was a lost peer, or was being deleted, came later.
        order = sorted(
            incident, key=lambda pair: (pair[1].is_leaving, pair[1].exit_code == LOST_PEER, pair[1].ended_at)
        )
        pod = order[0][1]
        return failure_of(pod)

    def _limit(self) -> str:
        spec = (self.job or {}).get("spec") or {}
        limit = (spec.get("runPolicy") or {}).get("activeDeadlineSeconds") or spec.get("activeDeadlineSeconds")
        return f"activeDeadlineSeconds {limit}"

    def _named(self, reason: str) -> ReplicaFailure:
        waiting = self.waiting()
        if waiting is not None and (waiting.waiting in PULLING or waiting.waiting == "Unschedulable"):
            return ReplicaFailure(waiting.replica, None, waiting.waiting, [waiting.message] if waiting.message else [])
        names = sorted(self.replicas, key=_rank)
        return ReplicaFailure(names[0] if names else "", None, reason, [])


def _rank(replica: str) -> tuple[int, str]:
    """Sorts replicas, who leads first."""
    role = replica.rpartition("-")[0]
    return (LEADERS.index(role) if role in LEADERS else len(LEADERS)), replica
