"""One recurring run of a schedule: how it is written down in Kubeflow, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import kfp_server_api as kfp

from shipway.remote.api import Api
from shipway.remote.english import When, every, parse_when
from shipway.remote.marks import read_mark, shown_name, write_mark
from shipway.remote.once import create_once, new_mark
from shipway.remote.zones import Stretch, find_zone, fires

SHOWN = 5
COUNTED = 1000  # runs that start at once are counted so far


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule as it is asked for.

    Attributes:
        pipeline: A published pipeline; `name@version` pins the version.
        when: Cron (six fields, five, `@daily`) or words (`every monday at 01:00`).
        params: Of every run.
        name: The schedule's; None for the pipeline's, with the model's behind it.
        zone: Time zone of `when`; None for the cluster's.
        version: Pins the version; None: every run takes the newest.
        start: Not before.
        end: Not after.
        concurrency: Runs at the same time at most, 1 to 10.
        catchup: Whether slots that were missed are made up for.
        experiment: Where its runs are listed; None for the connection's.
        service_account: Of its runs' pods; None for Kubeflow's default.
    """

    pipeline: str
    when: str
    params: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    zone: str | None = None
    version: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    concurrency: int = 1
    catchup: bool = False
    experiment: str | None = None
    service_account: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedSchedule:
    """A schedule as it shall be: checked, nothing created.

    Attributes:
        spec: As it was asked for, with the name, the time zone and the experiment filled in, parameters typed.
        name, zone: Of the spec.
        version, version_id: A version that stays; empty for the newest at every run.
        when: Its trigger; when Kubeflow is told to begin stands in `parts`.
    """

    spec: ScheduleSpec
    name: str
    zone: str
    pipeline_id: str
    version_id: str
    version: str
    when: When
    parts: list[Stretch]
    cluster_zone: str

    def next_times(self, count: int = SHOWN, after: datetime | None = None) -> list[datetime]:
        """When it will fire, in its zone; what starts at once is not among them."""
        begin = (after or datetime.now(UTC)).replace(microsecond=0)
        begin = max(begin, self.spec.start) if self.spec.start else begin
        return [at.astimezone(find_zone(self.zone)) for at in self._moments(begin, count)]

    @property
    def starts_at_once(self) -> int:
        """How many runs Kubeflow starts as soon as it is made: one for each slot behind a start that has passed.

        At most `COUNTED`, which then means that many or more.
        """
        now, start = datetime.now(UTC), self.parts[0].start
        if start is None or start > now:
            return 0
        return sum(1 for _ in takewhile(lambda at: at <= now, self._moments(start, COUNTED)))

    @property
    def at_the_same_time(self) -> int:
        """Runs at the same time at most; while slots are made up for, each recurring run has its own limit."""
        now = datetime.now(UTC)
        return self.spec.concurrency * max(1, sum(1 for part in self.parts if part.start and part.start <= now))

    def _moments(self, after: datetime, count: int) -> list[datetime]:
        if self.when.interval_s:
            return list(_ticks(self.when.interval_s, self.parts[0].start or after, after, self.spec.end, count))
        return fires(self.parts, find_zone(self.cluster_zone), after, count)


def create_parts(api: Api, made: PlannedSchedule, *, generation: int, enabled: bool, replaces: str = "") -> list[Any]:
    """Creates a generation, part by part."""
    experiment = api.experiment_id(made.spec.experiment or api.settings.experiment)
    return [
        _create_part(api, made, number, stretch, generation, experiment, enabled=enabled, replaces=replaces)
        for number, stretch in enumerate(made.parts, 1)
    ]


def _create_part(
    api: Api,
    made: PlannedSchedule,
    number: int,
    stretch: Stretch,
    generation: int,
    experiment: str,
    *,
    enabled: bool,
    replaces: str,
) -> Any:
    mark = new_mark()
    window: dict[str, Any] = {"start_time": stretch.start, "end_time": stretch.end}
    body = kfp.V2beta1RecurringRun(
        display_name=shown_name(made.name, number, len(made.parts)),
        description=write_mark(made, generation, number, mark, replaces),
        pipeline_version_reference=kfp.V2beta1PipelineVersionReference(
            # By the pipeline alone every run takes its newest version; kfp's own client refuses to say so.
            pipeline_id=made.pipeline_id, pipeline_version_id=made.version_id or None
        ),
        runtime_config=kfp.V2beta1RuntimeConfig(parameters=dict(made.spec.params)),
        max_concurrency=str(made.spec.concurrency),
        no_catchup=not made.spec.catchup,
        mode="ENABLE" if enabled else "DISABLE",
        trigger=kfp.V2beta1Trigger(
            periodic_schedule=kfp.V2beta1PeriodicSchedule(interval_second=str(made.when.interval_s), **window)
        )
        if made.when.interval_s
        else kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=stretch.cron, **window)),
        experiment_id=experiment,
        namespace=api.settings.namespace or None,
        service_account=made.spec.service_account,
    )  # fmt: skip
    return create_once(
        f"schedule {made.name!r}",
        lambda: api.create_recurring(body),
        lambda: next((job for job in api.recurring() if read_mark(job).get("mark") == mark), None),
        api.patience,
    )


def trigger_of(job: Any) -> When:
    """What Kubeflow holds, of a recurring run that was made elsewhere."""
    cron = job.trigger and job.trigger.cron_schedule
    if cron and cron.cron:
        words = cron.cron.split()
        return parse_when(cron.cron if len(words) == 6 or cron.cron.startswith("@") else f"{cron.cron} *")
    periodic = job.trigger and job.trigger.periodic_schedule
    interval = int((periodic and periodic.interval_second) or 0)
    return When(f"every {interval // 60} minutes" if interval % 60 == 0 else f"every {interval} s", interval_s=interval)


def window_of(job: Any) -> tuple[datetime | None, datetime | None]:
    """Start and end of a recurring run."""
    trigger = job.trigger and (job.trigger.cron_schedule or job.trigger.periodic_schedule)
    return (None, None) if not trigger else (_real(trigger.start_time), _real(trigger.end_time))


def _real(moment: Any) -> datetime | None:
    return moment if isinstance(moment, datetime) and moment.year > 1970 else None


def moments_of(job: Any, after: datetime, cluster_zone: str, count: int) -> Iterator[datetime]:
    """When a recurring run fires next."""
    start, end = window_of(job)
    when = trigger_of(job)
    begin = max(after, start) if start else after
    if when.cron:
        yield from fires([Stretch(when.cron.text, start, end)], find_zone(cluster_zone), after, count)
    elif when.interval_s:
        yield from _ticks(when.interval_s, start or _real(job.created_at) or begin, after, end, count)


def passed_moments(job: Any, after: datetime, until: datetime, cluster_zone: str) -> Iterator[datetime]:
    """When a recurring run was to fire, from `after` to `until`, in order."""
    start, end = window_of(job)
    last = min(until, end) if end else until
    when = trigger_of(job)
    if when.cron:
        yield from takewhile(lambda at: at <= last, when.cron.after(after, find_zone(cluster_zone)))
    elif when.interval_s:
        base = start or _real(job.created_at) or after
        count = max(0, int((last - after).total_seconds() // when.interval_s)) + 1
        yield from _ticks(when.interval_s, base, after, last, count)


def _ticks(interval_s: int, base: datetime, after: datetime, end: datetime | None, count: int) -> Iterator[datetime]:
    """Moments behind `after` of an interval counted from `base`."""
    passed = max(0, int((after - base).total_seconds() // interval_s))
    moments = every(interval_s, base + timedelta(seconds=interval_s * passed), count + 1)
    yield from islice((at for at in moments if at > after and (not end or at <= end)), count)
