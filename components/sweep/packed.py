"""Trials packed into a few long-lived jobs: TensorFlow takes longer to import than a short trial to train."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from shipway.components.sweep.ledger import FINAL, Ledger, Request, Status
from shipway.components.sweep.nodes import Nodes
from shipway.components.sweep.runners import Job, Jobs
from shipway.errors import ShipwayError
from shipway.executors import Manifest

LEASE_BEAT_S = 2.0
START_S = 900.0  # for a runner to begin: an image may have to be pulled, but not for ever
_RUNNER = re.compile(r"(.+)-w(\d+)-(\d+)")


@dataclass
class _Slot:
    """One runner after another; a crashed one is followed by the next incarnation."""

    index: int
    incarnation: int = 0
    given: int = 0  # how much work its present runner was given
    job: Job | None = None
    request: Request | None = None  # what it is at
    since: float = 0.0
    handed: float = 0.0  # when it was given that
    idle_since: float = 0.0  # when it had last something to do
    has_begun: bool = False  # its runner is at it; its time counts from here
    is_inherited: bool = False  # the trial was begun under an earlier engine


@dataclass
class PackedTrials:
    """Runs trials in `slots` runner jobs.

    Args:
        sweep: Name of the sweep; runners are called `<sweep>-w<slot>-<incarnation>`.
        manifest: Gives the manifest of a runner of a given name.
        slots: How many trials run at once.
        deadline_s: A trial that takes longer is failed and its runner replaced.
        engine: Who this is: no other engine has that name.

    Attributes:
        stop_by: Who wants the sweep to end with what it has; empty: nobody does.
    """

    sweep: str
    ledger: Ledger
    jobs: Jobs
    manifest: Callable[[str], Manifest]
    slots: int
    deadline_s: float | None = None
    engine: str = ""
    nodes: Nodes = field(default_factory=Nodes)
    stop_by: str = ""
    _slots: list[_Slot] = field(default_factory=list)
    _beat: int = 0
    _beaten: float = 0.0

    def __post_init__(self) -> None:
        self._slots = [_Slot(index) for index in range(self.slots)]
        for runner in self.ledger.runners():
            match = _RUNNER.fullmatch(runner)
            if match and int(match[2]) < self.slots:
                slot = self._slots[int(match[2])]
                slot.incarnation = max(slot.incarnation, int(match[3]))
        self._renew()

    @property
    def free(self) -> int:
        """How many more trials may be started now."""
        return sum(slot.request is None for slot in self._slots)

    def start(self, request: Request) -> None:
        """Hands an attempt to a free runner, which is started where there is none."""
        self._hand(next(slot for slot in self._slots if slot.request is None), request)

    def resume(self, request: Request) -> bool:
        """Takes over an attempt that an earlier engine handed out, if its runner may still be at it."""
        given = self.ledger.runners()
        match = _RUNNER.fullmatch(request.runner)
        if match is None or request.runner not in given or int(match[2]) >= self.slots:
            return False
        slot = self._slots[int(match[2])]
        if slot.request is not None:
            return False
        last = self.ledger.work(request.runner, given[request.runner] - 1) or {}
        if (last.get("number"), last.get("attempt")) != (request.number, request.attempt):
            return False  # the engine died between asking for it and handing it out
        status = self.ledger.status(request.number, request.attempt)
        if status is not None and status.state == "Failed":
            return False  # with its engine, perhaps: nobody saw it
        if status is None or status.state not in FINAL:
            try:
                slot.job = self.jobs.start(self.manifest(request.runner))
            except ShipwayError:
                return False  # ended with the engine that had started it
            slot.incarnation, slot.given = int(match[3]), given[request.runner]
        slot.request, slot.since, slot.is_inherited, slot.has_begun = request, time.monotonic(), True, False
        slot.handed = slot.since - (status.seconds if status else 0.0)
        return True

    def poll(self) -> list[tuple[Request, Status]]:
        """The state of every attempt under way; a final one has left its slot."""
        self._renew()
        statuses = []
        for slot in self._slots:
            request = slot.request
            if request is None:
                continue
            outcome = slot.job.outcome if slot.job else None  # looked at first: a result may come just before the end
            seen = self.ledger.status(request.number, request.attempt)
            status = seen or Status("Running")
            if seen is not None and not slot.has_begun:
                slot.has_begun, slot.since = True, time.monotonic()
            if status.state in FINAL:
                slot.request, slot.idle_since = None, time.monotonic()
            elif outcome is not None:
                if slot.is_inherited:
                    self._replace(slot)
                    held = request.held_s + time.monotonic() - slot.handed
                    self._hand(slot, replace(request, attempt=request.attempt + 1, held_s=held))
                    continue
                status = self._crashed(slot, status)
            elif self._is_late(slot):
                self.jobs.cancel(slot.job) if slot.job else None
                what = (
                    f"took longer than {self.deadline_s:g} s" if slot.has_begun else f"did not begin in {START_S:g} s"
                )
                status = self._crashed(slot, status, what)
            statuses.append((request, replace(status, held_s=round(time.monotonic() - slot.handed, 4))))
        return statuses

    def kill(self, why: str) -> list[tuple[Request, Status]]:
        """Ends every attempt under way, and its runner."""
        ended = []
        for slot in self._slots:
            if (request := slot.request) is None:
                continue
            if slot.job is not None and slot.job.outcome is None:
                self.jobs.cancel(slot.job)
            seen = self.ledger.status(request.number, request.attempt) or Status("Running")
            if seen.state in FINAL:  # just in time
                status = seen
            else:
                status = self._crashed(slot, replace(seen, state="Running"), why)
                status = replace(status, state="Killed")
            slot.request = None
            ended.append((request, replace(status, held_s=round(time.monotonic() - slot.handed, 4))))
        return ended

    def release(self, after_s: float) -> None:
        """Lets runners go that had nothing to do for so long: whoever waits for their GPUs may have them."""
        for slot in self._slots:
            is_idle = slot.request is None and slot.job is not None and slot.job.outcome is None
            if is_idle and slot.job is not None and time.monotonic() - slot.idle_since >= after_s:
                self.ledger.assign(slot.job.name, slot.given, {"end": True})
                slot.job = None  # `jobs` waits for its end

    def decide(self, request: Request, step: int, stop: bool) -> None:
        """Tells a trial whether to go on behind a step that it reported."""
        self.ledger.set_verdict(request.number, request.attempt, step, stop)

    def close(self, wait_s: float = 20.0) -> None:
        """Lets the runners end, and ends those that don't in time."""
        for slot in self._slots:
            if slot.job is not None and slot.job.outcome is None:
                self.ledger.assign(slot.job.name, slot.given, {"end": True})
        self.jobs.close(wait_s)

    def _hand(self, slot: _Slot, request: Request) -> None:
        if slot.job is not None and slot.job.outcome is not None:
            self._replace(slot)
        if slot.job is None:
            slot.incarnation += 1
            slot.given = 0
        name = f"{self.sweep}-w{slot.index}-{slot.incarnation}"
        request = replace(request, runner=name)
        self.ledger.check_lease(self.engine)
        self.ledger.request(request)
        self.ledger.assign(name, slot.given, {"number": request.number, "attempt": request.attempt})
        slot.given += 1
        slot.request, slot.since, slot.is_inherited, slot.has_begun = request, time.monotonic(), False, False
        slot.handed = slot.since
        if slot.job is None:
            slot.job = self.jobs.start(self.nodes.steered(self.manifest(name)))

    def _replace(self, slot: _Slot) -> None:
        if slot.job is not None:
            self.jobs.running.pop(slot.job.name, None)
        slot.job = None

    def _crashed(self, slot: _Slot, status: Status, why: str = "") -> Status:
        if not why:
            self.nodes.note(status.node, slot.request.number if slot.request else -1)
        error = why or (slot.job.error() if slot.job else "no runner")
        seconds = round(time.monotonic() - slot.since, 3)
        self._replace(slot)
        slot.request = None
        return replace(status, state="Failed", error=error, seconds=status.seconds or seconds)

    def _is_late(self, slot: _Slot) -> bool:
        limit = self.deadline_s if slot.has_begun else START_S
        used = slot.request.used_s if slot.request and slot.has_begun else 0.0
        return limit is not None and used + time.monotonic() - slot.since > limit

    def _renew(self) -> None:
        now = time.monotonic()
        if self._beat == 0:
            self.ledger.take_lease(self.engine)
        elif now - self._beaten <= LEASE_BEAT_S:
            return
        else:
            self.ledger.renew_lease(self._beat, self.engine)
            self.stop_by = self.ledger.stop_asked()
        self._beat, self._beaten = self._beat + 1, now
