"""Schedules: named recurring runs, changed without a gap although Kubeflow has no call that changes one.

A schedule is one recurring run, or several one behind the other where clocks change (zones.py). Each carries in its
description what it belongs to: name, generation, part. A change makes the next generation disabled, enables it, then
retires the older one; `settle` finishes or takes back a change that broke off anywhere in between. What is retired is
disabled, then deleted without its runs (retiring.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shipway.errors import InvalidSpec, NotFound, nearest
from shipway.remote.api import Api
from shipway.remote.english import When, parse_when
from shipway.remote.generations import Schedule, list_schedules, pick
from shipway.remote.marks import write_mark
from shipway.remote.recurring import Plan, create_parts
from shipway.remote.retiring import Running, cancel_running, kept_for, retire, running_of, set_enabled
from shipway.remote.submit import Target, checked_params, find_target
from shipway.remote.zones import Stretch, find_zone, stretches


def plan(
    api: Api,
    pipeline: str,
    when: str,
    params: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    zone: str | None = None,
    version: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    concurrency: int = 1,
    catchup: bool = False,
    experiment: str | None = None,
    service_account: str | None = None,
    is_new: bool = True,
) -> Plan:
    """Everything about a schedule checked, nothing created.

    Kubeflow starts runs at once for a start that has passed: one for the last slot, or with catch-up one for each
    slot since. The second is what catch-up is for (`Plan.starts_at_once` counts them); the first nobody asked for, so
    without catch-up a start that has passed means from now on.

    Args:
        api: Kubeflow.
        pipeline: A published pipeline; `name@version` pins the version.
        when: Cron (six fields, five, `@daily`) or words (`every monday at 01:00`).
        params: Of every run.
        name: The schedule's; the pipeline's, with the model's behind it, where none is given.
        zone: Time zone of `when`; the cluster's where none is given.
        version: Pins the version; without it every run takes the newest.
        start: Not before.
        end: Not after.
        concurrency: Runs at the same time at most, 1 to 10.
        catchup: Whether slots that were missed are made up for.
        is_new: False for what takes the place of another: it begins now, since the other has run what was before.

    Raises:
        InvalidSpec, NotFound: what is wrong, and what may stand there.
    """
    if not 1 <= concurrency <= 10:
        raise InvalidSpec(
            f"concurrency: got {concurrency}, Kubeflow allows 1 to 10 runs of a schedule at the same time"
        )
    target = find_target(api, pipeline, version)
    checked = checked_params(target, params or {})
    is_pinned = bool(version or "@" in pipeline)
    return _plan(
        api, target, parse_when(when), checked, is_pinned=is_pinned,
        name=name or "-".join(filter(None, [target.pipeline, str(checked.get("name", ""))])),
        zone=zone or api.settings.cron_zone, start=start, end=end, concurrency=concurrency, catchup=catchup,
        makes_up=catchup and is_new, experiment=experiment or api.settings.experiment,
        service_account=service_account,
    )  # fmt: skip


def _plan(
    api: Api,
    target: Target,
    when: When,
    params: dict[str, Any],
    *,
    is_pinned: bool,
    makes_up: bool,
    **fields: Any,
) -> Plan:
    start, end, cluster = fields["start"], fields["end"], api.settings.cron_zone
    if start and end and end <= start:
        raise InvalidSpec(f"end: {end.isoformat()} is not behind the start, {start.isoformat()}")
    zone = find_zone(fields["zone"])
    first = start if start and (makes_up or start > datetime.now(UTC)) else None
    parts = (
        stretches(when.cron, zone, find_zone(cluster), first, end) if when.cron else [Stretch(when.text, first, end)]
    )
    made = Plan(
        pipeline=target.pipeline,
        pipeline_id=target.pipeline_id,
        version_id=target.version_id if is_pinned else "",
        version=target.version if is_pinned else "",
        params=params,
        when=when,
        parts=parts,
        cluster_zone=cluster,
        **fields,
    )
    if not made.next_times(1) and not made.starts_at_once:
        raise InvalidSpec(f"schedule: {when.said!r} never fires between its start and its end")
    write_mark(made, generation=999, part=len(parts), mark="0" * 8, replaces="0" * 8)  # whether it will fit
    return made


def find_schedule(api: Api, name: str) -> Schedule:
    """The schedule of that name, settled; of one that was made elsewhere its recurring run's id will do.

    Raises:
        NotFound: names the nearest.
        InvalidSpec: several that were made elsewhere are called so.
    """
    found = settle(api, name)
    if found is None:
        raise _unknown(api, name)
    return found


def _unknown(api: Api, name: str) -> NotFound:
    names = [schedule.name for schedule in list_schedules(api)]
    return NotFound(f"schedule: no {name!r}; there are {', '.join(names) or 'none'}{nearest(name, names)}")


def settle(api: Api, name: str) -> Schedule | None:
    """Finishes a change that broke off, or takes it back; None where there is no such schedule.

    The newer generation holds once it may fire, or, of a paused schedule, once it is whole. Until then the older one
    goes on undisturbed, and the newer one is taken away.

    Raises:
        KubeflowError: runs of what is to be taken away go on, and this Kubeflow would kill them with it.
    """
    found = pick(list_schedules(api), name)
    if found is None or not found.said:
        return found
    may_fire = found.is_enabled or _is_any_enabled(found.twins)
    if not (found.is_whole and (may_fire or not _is_any_enabled(found.older))):
        kept = retire(api, (*found.parts, *found.twins))
        if kept:
            raise kept_for(api, kept, f"schedule {name}: a change of it broke off and cannot be taken back yet")
        return settle(api, name) if found.older else None
    if may_fire:  # it broke off between two parts
        set_enabled(api, found.parts, enabled=True)
    return Schedule(found.name, found.parts, found.said, older=retire(api, (*found.twins, *found.older)))


def create(api: Api, made: Plan) -> Schedule:
    """Makes a schedule.

    Raises:
        InvalidSpec: there is one of that name.
    """
    if settle(api, made.name) is not None:
        raise InvalidSpec(
            f"schedule: there is a {made.name!r} already; `shipway schedule change {made.name}` changes it, --name "
            f"names another"
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


def _make_anew(api: Api, old: Schedule, made: Plan, *, enabled: bool) -> Schedule:
    generation = int(old.said.get("generation", 0)) + 1
    replaces = "" if old.said else str(old.parts[0].recurring_run_id)
    parts = create_parts(api, made, generation=generation, enabled=False, replaces=replaces)
    if enabled:
        set_enabled(api, parts, enabled=True)
    retire(api, old.parts)
    return _settled(api, old.name, parts)


def _settled(api: Api, name: str, made: list[Any]) -> Schedule:
    """The schedule, if what was made is what stays: somebody else may have made it at the same moment."""
    found = find_schedule(api, name)
    stay, ours = ({part.recurring_run_id for part in parts} for parts in (found.parts, made))
    if stay != ours:
        what = "it is now made of parts of both" if stay & ours else f"theirs stays ({found.trigger})"
        raise InvalidSpec(
            f"schedule: somebody else made {name!r} at the same moment, and {what}; `shipway schedule change {name}` "
            f"with --when, --param and what else matters says what it shall be"
        )
    return found


def plan_change(api: Api, old: Schedule, **changes: Any) -> Plan:
    """What a schedule will be after a change."""
    given = {key: value for key, value in changes.items() if value is not None}
    job, said = old.parts[0], old.said
    reference = job.pipeline_version_reference
    wanted = given.get("version") or (reference.pipeline_version_id or "")
    wanted = "" if wanted == "newest" else wanted
    pipeline = given.get("pipeline") or _pipeline_name(api, reference.pipeline_id)
    versions = {v.pipeline_version_id: str(v.name or v.display_name) for v in api.versions(reference.pipeline_id)}
    start, end = (datetime.fromisoformat(said[key]) if said.get(key) else None for key in ("start", "end"))
    return plan(
        api,
        pipeline,
        given.get("when") or old.trigger,
        {**old.params, **given.get("params", {})},
        name=old.name,
        zone=given.get("zone") or old.zone or None,
        version=versions.get(wanted, wanted) or None,
        start=given.get("start", start),
        end=given.get("end", end),
        concurrency=int(given.get("concurrency", job.max_concurrency or 1)),
        catchup=bool(given.get("catchup", not job.no_catchup)),
        experiment=given.get("experiment") or said.get("experiment"),
        service_account=job.service_account or None,
        is_new=False,
    )


def set_paused(api: Api, name: str, *, paused: bool) -> Schedule:
    """Pauses or resumes a schedule; runs that go on are left alone.

    Kubeflow starts a run at once for the last slot that a recurring run missed while it was disabled. Where nothing is
    to be made up for, a schedule of ours is therefore made anew, as by a change; one that was made elsewhere is not.
    """
    found = find_schedule(api, name)
    if not paused and not found.is_enabled and found.said and not found.catches_up:
        return _make_anew(api, found, plan_change(api, found), enabled=True)
    set_enabled(api, found.parts, enabled=not paused)
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
    found = pick(list_schedules(api), name)  # whatever a change or a deletion that broke off has left of it
    if found is None:
        raise _unknown(api, name)
    parts = (*found.parts, *found.twins, *found.older)
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
        raise NotFound(f"schedule: its pipeline {pipeline_id} is deleted; publish it again and name it by --pipeline")
    return str(known.name or known.display_name)


def _is_any_enabled(jobs: list[Any]) -> bool:
    return any(job.status == "ENABLED" for job in jobs)
