"""Schedules: named recurring runs, changed without a gap although Kubeflow has no call that changes one.

A schedule is one recurring run, or several one behind the other where clocks change (zones.py). Each carries in its
description what it belongs to: name, generation, part. A change makes the next generation disabled, enables it, then
retires the older one; `settle` finishes or takes back a change that broke off anywhere in between. What is retired is
disabled, then deleted without its runs (retiring.py).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shipway.errors import InvalidSpec, NotFound, nearest
from shipway.remote.api import Api
from shipway.remote.english import parse_when
from shipway.remote.generations import Schedule, list_schedules, pick
from shipway.remote.marks import write_mark
from shipway.remote.recurring import PlannedSchedule, ScheduleSpec, create_parts
from shipway.remote.retiring import Running, cancel_running, kept_for, retire, running_of, set_enabled
from shipway.remote.submit import checked_params, find_target
from shipway.remote.zones import Stretch, find_zone, stretches


def plan(api: Api, spec: ScheduleSpec, *, is_new: bool = True) -> PlannedSchedule:
    """Everything about a schedule checked, nothing created.

    Kubeflow starts runs at once for a start that has passed: one for the last slot, or with catch-up one for each
    slot since. The second is what catch-up is for (`PlannedSchedule.starts_at_once` counts them); the first nobody
    asked for, so without catch-up a start that has passed means from now on.

    Args:
        api: Kubeflow.
        spec: The schedule.
        is_new: False for what takes the place of another: it begins now, since the other has run what was before.

    Raises:
        InvalidSpec, NotFound: what is wrong, and what may stand there.
    """
    if not 1 <= spec.concurrency <= 10:
        raise InvalidSpec(
            f"got {spec.concurrency}, Kubeflow allows 1 to 10 runs of a schedule at the same time", field="concurrency"
        )
    if spec.start and spec.end and spec.end <= spec.start:
        raise InvalidSpec(f"{spec.end.isoformat()} is not behind the start, {spec.start.isoformat()}", field="end")
    target = find_target(api, spec.pipeline, spec.version)
    checked = checked_params(target, spec.params)
    is_pinned = bool(spec.version or "@" in spec.pipeline)
    name = spec.name or "-".join(filter(None, [target.pipeline, str(checked.get("name", ""))]))
    zone, cluster = spec.zone or api.settings.cron_zone, api.settings.cron_zone
    whole = replace(
        spec, pipeline=target.pipeline, params=checked, name=name, zone=zone,
        experiment=spec.experiment or api.settings.experiment,
    )  # fmt: skip
    when, begins = parse_when(spec.when), _beginning(spec, is_new=is_new)
    made = PlannedSchedule(
        spec=whole,
        name=name,
        zone=zone,
        pipeline_id=target.pipeline_id,
        version_id=target.version_id if is_pinned else "",
        version=target.version if is_pinned else "",
        when=when,
        parts=stretches(when.cron, find_zone(zone), find_zone(cluster), begins, spec.end)
        if when.cron
        else [Stretch(when.text, begins, spec.end)],
        cluster_zone=cluster,
    )
    if not made.next_times(1) and not made.starts_at_once:
        raise InvalidSpec(f"{when.said!r} never fires between its start and its end", field="schedule", given=when.said)
    write_mark(made, generation=999, part=len(made.parts), mark="0" * 8, replaces="0" * 8)  # whether it will fit
    return made


def _beginning(spec: ScheduleSpec, *, is_new: bool) -> datetime | None:
    """When Kubeflow is told to begin; None for now."""
    makes_up = spec.catchup and is_new
    return spec.start if spec.start and (makes_up or spec.start > datetime.now(UTC)) else None


def find_schedule(api: Api, name: str) -> Schedule:
    """The schedule of that name, settled; of one that was made elsewhere its recurring run's id will do.

    Raises:
        NotFound: names the nearest.
        InvalidSpec: several that were made elsewhere are called so.
    """
    schedule = settle(api, name)
    if schedule is None:
        raise _unknown(api, name)
    return schedule


def _unknown(api: Api, name: str) -> NotFound:
    names = [schedule.name for schedule in list_schedules(api)]
    return NotFound(
        f"no {name!r}; there are {', '.join(names) or 'none'}{nearest(name, names)}", field="schedule", given=name
    )


def settle(api: Api, name: str) -> Schedule | None:
    """Finishes a change that broke off, or takes it back; None where there is no such schedule.

    The newer generation holds once it may fire, or, of a paused schedule, once it is whole. Until then the older one
    goes on undisturbed, and the newer one is taken away.

    Raises:
        KubeflowError: runs of what is to be taken away go on, and this Kubeflow would kill them with it.
    """
    schedule = pick(list_schedules(api), name)
    if schedule is None or not schedule.said:
        return schedule
    may_fire = schedule.is_enabled or _is_any_enabled(schedule.twins)
    if not (schedule.is_whole and (may_fire or not _is_any_enabled(schedule.older))):
        kept = retire(api, (*schedule.parts, *schedule.twins))
        if kept:
            raise kept_for(api, kept, f"schedule {name}: a change of it broke off and cannot be taken back yet")
        return settle(api, name) if schedule.older else None
    if may_fire:  # it broke off between two parts
        set_enabled(api, schedule.parts, enabled=True)
    return Schedule(schedule.name, schedule.parts, schedule.said, older=retire(api, (*schedule.twins, *schedule.older)))


def create(api: Api, made: PlannedSchedule) -> Schedule:
    """Makes a schedule.

    Raises:
        InvalidSpec: there is one of that name.
    """
    if settle(api, made.name) is not None:
        raise InvalidSpec(
            f"there is a {made.name!r} already; `shipway schedule change {made.name}` changes it, --name names another",
            field="schedule",
            given=made.name,
        )
    parts = create_parts(api, made, generation=1, enabled=len(made.parts) == 1)
    if len(parts) > 1:
        set_enabled(api, parts, enabled=True)
    return _settled(api, made.name, parts)


def change(api: Api, name: str, **changes: Any) -> Schedule:
    """Changes a schedule: the new one is whole and enabled before the old one goes; its runs go on.

    Args:
        api: Kubeflow.
        name: The schedule's.
        changes: Any of when, zone, params (those that change), pipeline, version, start, end, concurrency, catchup.
            `version="newest"` lets go of a pinned one. None: as it is. Without any change it is made anew, which
            moves the horizon of one that follows clock changes.
    """
    old = find_schedule(api, name)
    return _make_anew(api, old, plan_change(api, old, **changes), enabled=old.is_enabled)


def _make_anew(api: Api, old: Schedule, made: PlannedSchedule, *, enabled: bool) -> Schedule:
    generation = int(old.said.get("generation", 0)) + 1
    replaces = "" if old.said else str(old.parts[0].recurring_run_id)
    parts = create_parts(api, made, generation=generation, enabled=False, replaces=replaces)
    if enabled:
        set_enabled(api, parts, enabled=True)
    retire(api, old.parts)
    return _settled(api, old.name, parts)


def _settled(api: Api, name: str, made: list[Any]) -> Schedule:
    """The schedule, if what was made is what stays: somebody else may have made it at the same moment."""
    schedule = find_schedule(api, name)
    stay, ours = ({part.recurring_run_id for part in parts} for parts in (schedule.parts, made))
    if stay != ours:
        what = "it is now made of parts of both" if stay & ours else f"theirs stays ({schedule.trigger})"
        raise InvalidSpec(
            f"somebody else made {name!r} at the same moment, and {what}; `shipway schedule change "
            f"{name}` with --when, --param and what else matters says what it shall be",
            field="schedule",
            given=name,
        )
    return schedule


def plan_change(api: Api, old: Schedule, **changes: Any) -> PlannedSchedule:
    """What a schedule will be after a change; see `change`."""
    given = {key: value for key, value in changes.items() if value is not None}
    spec = _spec_of(api, old, pipeline=given.get("pipeline"))
    if "version" in given:
        given["version"] = None if given["version"] == "newest" else given["version"]
    if "params" in given:
        given["params"] = {**spec.params, **given["params"]}
    return plan(api, replace(spec, **given), is_new=False)


def _spec_of(api: Api, old: Schedule, *, pipeline: str | None) -> ScheduleSpec:
    """As the schedule that there is was asked for, or with another pipeline: its own may be gone."""
    job, said = old.parts[0], old.said
    reference = job.pipeline_version_reference
    versions = {v.pipeline_version_id: str(v.name or v.display_name) for v in api.versions(reference.pipeline_id)}
    pinned = reference.pipeline_version_id or ""
    start, end = (datetime.fromisoformat(said[key]) if said.get(key) else None for key in ("start", "end"))
    return ScheduleSpec(
        pipeline=pipeline or _pipeline_name(api, reference.pipeline_id),
        when=old.trigger,
        params=old.params,
        name=old.name,
        zone=old.zone or None,
        version=versions.get(pinned, pinned) or None,
        start=start,
        end=end,
        concurrency=int(job.max_concurrency or 1),
        catchup=not job.no_catchup,
        experiment=said.get("experiment"),
        service_account=job.service_account or None,
    )


def set_paused(api: Api, name: str, *, paused: bool) -> Schedule:
    """Pauses or resumes a schedule; runs that go on are left alone.

    Kubeflow starts a run at once for the last slot that a recurring run missed while it was disabled. Where nothing is
    to be made up for, a schedule of ours is therefore made anew, as by a change; one that was made elsewhere is not.
    """
    schedule = find_schedule(api, name)
    if not paused and not schedule.is_enabled and schedule.said and not schedule.catches_up:
        return _make_anew(api, schedule, plan_change(api, schedule), enabled=True)
    set_enabled(api, schedule.parts, enabled=not paused)
    return find_schedule(api, name)


def delete(api: Api, name: str, *, cancel_runs: bool = False) -> list[Running]:
    """Deletes a schedule.

    Args:
        api: Kubeflow.
        name: The schedule's.
        cancel_runs: Cancel its runs first, those included that start while it is deleted.

    Returns:
        Its runs that go on.

    Raises:
        KubeflowError: runs go on, and this Kubeflow would kill them with the schedule: it is only paused.
    """
    schedule = pick(list_schedules(api), name)  # whatever a change or a deletion that broke off has left of it
    if schedule is None:
        raise _unknown(api, name)
    parts = (*schedule.parts, *schedule.twins, *schedule.older)
    set_enabled(api, parts, enabled=False)
    if cancel_runs:
        cancel_running(api, parts)
    running = running_of(api, parts)
    kept = retire(api, parts)
    if kept:
        raise kept_for(api, kept, f"schedule {name}: paused, and not deleted yet")
    return running


def _pipeline_name(api: Api, pipeline_id: str) -> str:
    known = next((p for p in api.pipelines() if p.pipeline_id == pipeline_id), None)
    if known is None:
        raise NotFound(
            f"its pipeline {pipeline_id} is deleted", field="schedule", fix="publish it again and name it by --pipeline"
        )
    return str(known.name or known.display_name)


def _is_any_enabled(jobs: list[Any]) -> bool:
    return any(job.status == "ENABLED" for job in jobs)
