"""Schedules: named recurring runs, changed without a gap although Kubeflow has no call that changes one.

A schedule is one recurring run, or several one behind the other where clocks change (zones.py). Each carries in its
description what it belongs to: name, generation, part. A change makes the next generation disabled, enables it, then
deletes the older one; `settle` finishes or takes back a change that broke off anywhere in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shipway.errors import InvalidSpec, NotFound, nearest
from shipway.remote.api import Api
from shipway.remote.english import When, parse_when
from shipway.remote.recurring import SHOWN, Plan, create_parts, moments_of, read_mark, trigger_of, window_of
from shipway.remote.submit import Target, check_params, find_target
from shipway.remote.zones import Stretch, find_zone, stretches


@dataclass
class Schedule:
    """A schedule as it is: the newest generation's recurring runs."""

    name: str
    parts: list[Any]
    said: dict[str, Any] = field(default_factory=dict)
    older: list[Any] = field(default_factory=list)  # of a change that broke off

    @property
    def is_enabled(self) -> bool:
        """Whether any part may fire."""
        return any(part.status == "ENABLED" for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether no part is missing."""
        return len(self.parts) == int(self.said.get("parts", 1))

    @property
    def trigger(self) -> str:
        """As the person said it, else what Kubeflow holds."""
        return str(self.said.get("when") or trigger_of(self.parts[0]).text)

    @property
    def zone(self) -> str:
        """In which it was said."""
        return str(self.said.get("zone", ""))

    @property
    def params(self) -> dict[str, Any]:
        """What each run is given."""
        config = self.parts[0].runtime_config
        return dict((config and config.parameters) or {})

    def next_times(self, cluster_zone: str, count: int = SHOWN) -> list[datetime]:
        """When it will fire, in its zone; nothing while it is paused."""
        if not self.is_enabled:
            return []
        zone = find_zone(self.zone or cluster_zone)
        now = datetime.now(UTC).replace(microsecond=0)
        moments: list[datetime] = []
        for part in self.parts:
            moments += moments_of(part, now, cluster_zone, count)
        return [at.astimezone(zone) for at in sorted(moments)[:count]]

    @property
    def end(self) -> datetime | None:
        """The last moment at which it may fire; None for none."""
        ends = [window_of(part)[1] for part in self.parts]
        return None if None in ends else max(end for end in ends if end is not None)


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
) -> Plan:
    """Everything about a schedule checked, nothing created.

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

    Raises:
        InvalidSpec, NotFound: what is wrong, and what may stand there.
    """
    if not 1 <= concurrency <= 10:
        raise InvalidSpec(
            f"concurrency: got {concurrency}, Kubeflow allows 1 to 10 runs of a schedule at the same time"
        )
    target = find_target(api, pipeline, version)
    checked = check_params(target, params or {})
    is_pinned = bool(version or "@" in pipeline)
    return _plan(
        api, target, parse_when(when), checked, is_pinned=is_pinned,
        name=name or "-".join(filter(None, [target.pipeline, str(checked.get("name", ""))])),
        zone=zone or api.settings.cron_zone, start=start, end=end, concurrency=concurrency, catchup=catchup,
        experiment=experiment or api.settings.experiment, service_account=service_account,
    )  # fmt: skip


def _plan(api: Api, target: Target, when: When, params: dict[str, Any], *, is_pinned: bool, **fields: Any) -> Plan:
    start, end, cluster = fields["start"], fields["end"], api.settings.cron_zone
    if start and end and end <= start:
        raise InvalidSpec(f"end: {end.isoformat()} is not behind the start, {start.isoformat()}")
    zone = find_zone(fields["zone"])
    parts = (
        stretches(when.cron, zone, find_zone(cluster), start, end) if when.cron else [Stretch(when.text, start, end)]
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
    if not made.next_times(1):
        raise InvalidSpec(f"schedule: {when.said!r} never fires between its start and its end")
    return made


def list_schedules(api: Api) -> list[Schedule]:
    """All schedules, recurring runs made in the UI among them, by name."""
    grouped: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    for job in api.recurring():
        said = read_mark(job)
        grouped.setdefault(str(said.get("name") or job.display_name), []).append((said, job))
    found = []
    for name, entries in sorted(grouped.items()):
        newest = max(int(said.get("generation", 0)) for said, _ in entries)
        said = next(said for said, _ in entries if int(said.get("generation", 0)) == newest)
        parts = [(int(s.get("part", 1)), job) for s, job in entries if int(s.get("generation", 0)) == newest]
        older = [job for s, job in entries if int(s.get("generation", 0)) < newest]
        found.append(Schedule(name, [job for _, job in sorted(parts, key=lambda one: one[0])], said, older))
    return found


def find_schedule(api: Api, name: str) -> Schedule:
    """The schedule of that name, settled.

    Raises:
        NotFound: names the nearest.
    """
    found = settle(api, name)
    if found is None:
        names = [schedule.name for schedule in list_schedules(api)]
        raise NotFound(f"schedule: no {name!r}; there are {', '.join(names) or 'none'}{nearest(name, names)}")
    return found


def settle(api: Api, name: str) -> Schedule | None:
    """Finishes a change that broke off, or takes it back; None where there is no such schedule.

    The newer generation holds once it may fire, or, of a paused schedule, once it is whole. Until then the older one
    goes on undisturbed, and the newer one is taken away.
    """
    found = next((schedule for schedule in list_schedules(api) if schedule.name == name), None)
    if found is None or not found.said:
        return found
    runs_still = any(job.status == "ENABLED" for job in found.older)
    holds = found.is_whole and (found.is_enabled or not runs_still)
    if not holds:
        for part in found.parts:
            api.delete_recurring(part.recurring_run_id)
        return settle(api, name) if found.older else None
    if found.is_enabled:  # it broke off between two parts
        _set_enabled(api, found.parts, enabled=True)
    for job in found.older:
        api.delete_recurring(job.recurring_run_id)
    return Schedule(name, found.parts, found.said)


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
        _set_enabled(api, parts, enabled=True)
    return find_schedule(api, made.name)


def change(api: Api, name: str, **changes: Any) -> Schedule:
    """Changes a schedule: the new one is whole and enabled before the old one goes.

    Args:
        api: Kubeflow.
        name: The schedule's.
        changes: Any of when, zone, params (those that change), pipeline, version, start, end, concurrency, catchup.
            `version="newest"` lets go of a pinned one. None: as it is. Without any change it is made anew, which
            moves the horizon of one that follows clock changes.
    """
    old = find_schedule(api, name)
    made = plan_change(api, old, **changes)
    generation = int(old.said.get("generation", 0)) + 1
    parts = create_parts(api, made, generation=generation, enabled=False)
    if old.is_enabled:
        _set_enabled(api, parts, enabled=True)
    for job in old.parts:
        api.delete_recurring(job.recurring_run_id)
    return find_schedule(api, name)


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
    )


def set_paused(api: Api, name: str, *, paused: bool) -> Schedule:
    """Pauses or resumes a schedule; runs that go on are left alone."""
    found = find_schedule(api, name)
    _set_enabled(api, found.parts, enabled=not paused)
    return find_schedule(api, name)


def delete(api: Api, name: str) -> None:
    """Deletes a schedule; its runs stay."""
    found = find_schedule(api, name)
    for job in [*found.parts, *found.older]:
        api.delete_recurring(job.recurring_run_id)


def _pipeline_name(api: Api, pipeline_id: str) -> str:
    known = next((p for p in api.pipelines() if p.pipeline_id == pipeline_id), None)
    if known is None:
        raise NotFound(f"schedule: its pipeline {pipeline_id} is deleted; publish it again and name it by --pipeline")
    return str(known.name or known.display_name)


def _set_enabled(api: Api, parts: list[Any], *, enabled: bool) -> None:
    for job in parts:
        if (job.status == "ENABLED") is not enabled:
            api.set_recurring(job.recurring_run_id, enabled=enabled)
