"""One recurring run of a schedule: how it is written down in Kubeflow, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import kfp_server_api as kfp

from shipway.remote.api import Api
from shipway.remote.english import When, every, parse_when
from shipway.remote.once import create_once, new_mark
from shipway.remote.submit import who_types
from shipway.remote.zones import Stretch, find_zone, fires

SAID = "Schedule of Shipway "
SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """A schedule as it shall be: checked, nothing created.

    Attributes:
        version_id: A version that stays; empty for the newest at every run.
        zone: In which `when` is meant.
    """

    name: str
    pipeline: str
    pipeline_id: str
    version_id: str
    version: str
    params: dict[str, Any]
    when: When
    zone: str
    start: datetime | None
    end: datetime | None
    concurrency: int
    catchup: bool
    experiment: str
    service_account: str | None
    parts: list[Stretch]
    cluster_zone: str

    def next_times(self, count: int = SHOWN, after: datetime | None = None) -> list[datetime]:
        """When it will fire, in its zone."""
        begin = (after or datetime.now(UTC)).replace(microsecond=0)
        begin = max(begin, self.start) if self.start else begin
        zone = find_zone(self.zone)
        if self.when.interval_s:
            moments = [at for at in every(self.when.interval_s, begin, count) if not self.end or at <= self.end]
        else:
            moments = fires(self.parts, find_zone(self.cluster_zone), begin, count)
        return [at.astimezone(zone) for at in moments]


def create_parts(api: Api, made: Plan, *, generation: int, enabled: bool) -> list[Any]:
    """Creates a generation, part by part."""
    experiment = api.experiment_id(made.experiment)
    return [
        _create_part(api, made, number, stretch, generation, experiment, enabled=enabled)
        for number, stretch in enumerate(made.parts, 1)
    ]


def _create_part(
    api: Api, made: Plan, number: int, stretch: Stretch, generation: int, experiment: str, *, enabled: bool
) -> Any:
    mark = new_mark()
    count = len(made.parts)
    window: dict[str, Any] = {"start_time": stretch.start, "end_time": stretch.end}
    body = kfp.V2beta1RecurringRun(
        display_name=made.name if count == 1 else f"{made.name} ({number} of {count})",
        description=write_mark(made, generation, number, mark),
        pipeline_version_reference=kfp.V2beta1PipelineVersionReference(
            # By the pipeline alone every run takes its newest version; kfp's own client refuses to say so.
            pipeline_id=made.pipeline_id, pipeline_version_id=made.version_id or None
        ),
        runtime_config=kfp.V2beta1RuntimeConfig(parameters=dict(made.params)),
        max_concurrency=str(made.concurrency),
        no_catchup=not made.catchup,
        mode="ENABLE" if enabled else "DISABLE",
        trigger=kfp.V2beta1Trigger(
            periodic_schedule=kfp.V2beta1PeriodicSchedule(interval_second=str(made.when.interval_s), **window)
        )
        if made.when.interval_s
        else kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=stretch.cron, **window)),
        experiment_id=experiment,
        namespace=api.settings.namespace or None,
        service_account=made.service_account,
    )  # fmt: skip
    return create_once(
        f"schedule {made.name!r}",
        lambda: api.create_recurring(body),
        lambda: next((job for job in api.recurring() if read_mark(job).get("mark") == mark), None),
        api.patience,
    )


def write_mark(made: Plan, generation: int, part: int, mark: str) -> str:
    """The description of a recurring run: readable, and all that a later change needs."""
    said = {
        "name": made.name, "when": made.when.said, "zone": made.zone, "generation": generation, "part": part,
        "parts": len(made.parts), "by": who_types(), "experiment": made.experiment, "mark": mark,
        "start": made.start.isoformat() if made.start else None, "end": made.end.isoformat() if made.end else None,
    }  # fmt: skip
    return SAID + json.dumps({key: value for key, value in said.items() if value is not None})


def read_mark(job: Any) -> dict[str, Any]:
    """What a recurring run of ours says; empty for others'."""
    description = str(job.description or "")
    if not description.startswith(SAID):
        return {}
    try:
        found = json.loads(description.removeprefix(SAID))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
        base = start or _real(job.created_at) or begin
        missed = max(0, int((after - base).total_seconds() // when.interval_s))
        moments = every(when.interval_s, base, missed + count + 1)
        yield from islice((at for at in moments if at > after and (not end or at <= end)), count)
