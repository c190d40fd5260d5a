"""What came of a schedule's slots: the run of each, or why there is none.

Kubeflow keeps no list of slots. They are worked out from the cron as its controller does it, and the runs that the
recurring run started are laid over them. While as many of its runs go on as it may have at the same time, the
controller starts nothing; when one ends, it starts the last slot that has passed, and those before it are lost. With
catch-up it starts them one after the other, and none is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from shipway.ending import Sources, state_of
from shipway.remote.api import Api
from shipway.remote.generations import Schedule
from shipway.remote.recurring import passed_moments, window_of
from shipway.remote.tasks import moment
from shipway.remote.zones import find_zone

COUNT = 20
LATE = timedelta(seconds=60)  # Kubeflow's controller was seen up to 32 s late by itself
COUNTED = 10_000  # slots since the start, of a schedule that makes up for them


@dataclass(frozen=True)
class Slot:
    """A time at which a schedule was to run.

    Attributes:
        at: In the schedule's zone.
        run: Id of its run; empty for none.
        outcome: The run's state; `lost`, `waiting` or `none` without one.
        why: Why there is no run, or why it was late.
    """

    at: datetime
    run: str
    name: str
    outcome: str
    why: str


def slots_of(api: Api, schedule: Schedule, count: int = COUNT) -> list[Slot]:
    """The last slots of the schedule as it is now, the oldest first; what was before its last change is not known."""
    cluster, now = api.settings.cron_zone, datetime.now(UTC).replace(microsecond=0)
    zone = find_zone(schedule.zone or cluster)
    slots: list[Slot] = []
    for part in schedule.parts:
        moments = _slots(part, cluster, now, count)
        if moments:
            runs = sorted(api.runs_of(str(part.recurring_run_id), 2 * count), key=lambda run: run.created_at)
            slots += _laid(part, moments, runs, now)
    slots.sort(key=lambda slot: slot.at)
    return [Slot(one.at.astimezone(zone), one.run, one.name, one.outcome, one.why) for one in slots[-count:]]


def _slots(part: Any, cluster: str, now: datetime, count: int) -> list[datetime]:
    """Those that have passed, the last `count` of them; all, numbered from the first, where missed ones are made up."""
    start = window_of(part)[0] or moment(part.created_at) or now
    if not part.no_catchup:
        return list(islice(passed_moments(part, start, now, cluster), COUNTED))
    span = timedelta(hours=1)
    while True:  # looked for backwards, since there may be years of them
        begin = max(start, now - span)
        passed = list(passed_moments(part, begin, now, cluster))
        if len(passed) >= count or begin == start:
            return passed[-count:]
        span *= 4


def _laid(part: Any, moments: list[datetime], runs: list[Any], now: datetime) -> list[Slot]:
    by_slot = {_slot_of(part, run, moments): run for run in runs}
    last_run = max((at for at in by_slot if at), default=None)
    limit = int(part.max_concurrency or 1)
    busy = _alive(now, runs, without=None, limit=limit)
    made = []
    for number, at in enumerate(moments):
        is_last = number + 1 == len(moments)
        run = by_slot.get(at)
        blockers = _alive(at, runs, without=run, limit=limit)
        if run is not None:
            created = moment(run.created_at) or at
            late = created - at
            why = f"{late.total_seconds():.0f} s late{_because(blockers)}" if late > LATE or (blockers and late) else ""
            made.append(Slot(at, str(run.run_id), _name(run), _state(run), why))
        else:
            is_next = last_run is None or at > last_run
            holds_up = busy if is_next and (is_last or not part.no_catchup) else []
            made.append(Slot(at, "", "", *_reason(part, now - at, blockers, holds_up, is_next=is_next)))
    return made


def _reason(part: Any, since: timedelta, blockers: list[Any], holds_up: list[Any], *, is_next: bool) -> tuple[str, str]:
    """Outcome of a slot without a run, and why."""
    if part.status != "ENABLED" and is_next:
        return "none", "the schedule is paused"
    if holds_up:
        return "waiting", f"run {_name(holds_up[0])} is still going"
    if blockers and part.no_catchup:
        return "lost", f"run {_name(blockers[0])} was still going"
    if since <= LATE:
        return "waiting", "due now; Kubeflow's controller is some seconds late"
    return "none", "Kubeflow's controller started no run then, or the run was deleted"


def _slot_of(part: Any, run: Any, moments: list[datetime]) -> datetime | None:
    """The slot that a run was started for."""
    scheduled, created = moment(run.scheduled_at), moment(run.created_at)
    # Told where a version is pinned; elsewhere the time of the run's creation stands there.
    if scheduled != created and scheduled in moments:
        return scheduled
    if not part.no_catchup:
        index = str(run.display_name).split("-")[-2:-1]  # runs are numbered, and so are slots of which none is lost
        number = int(index[0]) - 1 if index and index[0].isdecimal() else len(moments)
        return moments[number] if number < len(moments) else None
    return max((at for at in moments if created and at <= created), default=None)


def _alive(at: datetime, runs: Iterable[Any], *, without: Any, limit: int) -> list[Any]:
    """The runs that went on at that time, the one that began first in front; none where there was room for another."""
    alive = []
    for run in runs:
        created, ended = moment(run.created_at), moment(run.finished_at)
        if run is not without and created and created < at and (ended is None or ended > at):
            alive.append(run)
    return alive if len(alive) >= limit else []


def _state(run: Any) -> str:
    is_cancelled = any(str(status.state) == "CANCELING" for status in run.state_history or [])
    return state_of(Sources(str(run.state), "cancelled" if is_cancelled else "unknown"))


def _because(blockers: list[Any]) -> str:
    return f": run {_name(blockers[0])} was still going" if blockers else ""


def _name(run: Any) -> str:
    return str(run.display_name)
