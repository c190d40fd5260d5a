"""A schedule in a person's time zone, on a cluster that reads cron in its own.

Kubeflow keeps no zone by schedule: its controller has one for all (CRON_SCHEDULE_TIMEZONE, UTC by default). Where the
two differ, the fields are shifted; where the difference changes with daylight saving, the schedule becomes one
recurring run per stretch of constant difference, each with its start and end, so that 01:00 stays 01:00.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from shipway.errors import InvalidSpec, nearest
from shipway.remote.cron import Cron, parse_cron

HORIZON = timedelta(days=2 * 365)
CHECKED = 60  # moments that are compared before anything is created


@dataclass(frozen=True)
class Stretch:
    """One recurring run: fields in the cluster's zone, and the first and last moment that it may fire."""

    cron: str
    start: datetime | None
    end: datetime | None


def find_zone(name: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        InvalidSpec: no such zone; names the nearest.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSpec(
            "unknown time zone",
            field="zone",
            given=name,
            allowed=f"a name like UTC or Europe/Berlin{nearest(name, available_timezones())}",
        ) from error


def stretches(
    cron: Cron, zone: ZoneInfo, cluster: ZoneInfo, start: datetime | None, end: datetime | None
) -> list[Stretch]:
    """What to create so that the cluster fires when the clock of `zone` says so.

    Args:
        cron: In `zone`.
        zone: The person's.
        cluster: The controller's.
        start: Not before; None: from now on. Of one that has passed, Kubeflow fires the slots since.
        end: Not after; None: for ever, or `HORIZON` from now or the start where clocks change in between.

    Raises:
        InvalidSpec: the shifted times are not one cron's.
    """
    if zone.key == cluster.key:
        return [Stretch(cron.text, start, end)]
    now = datetime.now(UTC).replace(microsecond=0)
    begin = start or now
    limit = end or max(begin, now) + HORIZON
    edges = _changes(begin, limit, zone, cluster)
    laid: list[Stretch] = []
    for index, lower in enumerate([begin, *edges]):
        inside = lower + timedelta(seconds=1)
        upper = edges[index] - timedelta(seconds=1) if index < len(edges) else limit
        # The controller fires strictly behind the start: one second earlier lets the edge itself fire.
        first = lower - timedelta(seconds=1) if index else start
        text = cron.text if _is_indifferent(cron, zone, cluster, inside) else _shifted(cron, inside, zone, cluster)
        if laid and laid[-1].cron == text:
            laid[-1] = Stretch(text, laid[-1].start, upper)
        else:
            laid.append(Stretch(text, first, upper))
    if len(laid) == 1 and end is None:
        laid = [Stretch(laid[0].cron, start, None)]
    _check(cron, zone, cluster, laid, begin, limit)
    return laid


def _difference(moment: datetime, zone: ZoneInfo, cluster: ZoneInfo) -> timedelta:
    there, here = moment.astimezone(cluster).utcoffset(), moment.astimezone(zone).utcoffset()
    assert there is not None
    assert here is not None
    return there - here


def _changes(begin: datetime, limit: datetime, zone: ZoneInfo, cluster: ZoneInfo) -> list[datetime]:
    """Moments at which the difference changes, to the second."""
    edges = []
    moment = begin.astimezone(UTC)
    while moment < limit:
        after = min(moment + timedelta(days=1), limit.astimezone(UTC))
        if _difference(moment, zone, cluster) != _difference(after, zone, cluster):
            low, high = moment, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                same = _difference(middle, zone, cluster) == _difference(moment, zone, cluster)
                low, high = (middle, high) if same else (low, middle)
            edge = high.replace(microsecond=0)
            edges.append(edge if edge.second == 0 else edge + timedelta(seconds=60 - edge.second))
        moment = after
    return edges


def _is_indifferent(cron: Cron, zone: ZoneInfo, cluster: ZoneInfo, moment: datetime) -> bool:
    """Every hour of every day is the same hour wherever one is, half-hour zones aside."""
    whole = _difference(moment, zone, cluster).total_seconds() % 3600 == 0
    return (
        whole and len(cron.hours) == 24 and len(cron.days) == 31 and len(cron.months) == 12 and len(cron.weekdays) == 7
    )


def _shifted(cron: Cron, moment: datetime, zone: ZoneInfo, cluster: ZoneInfo) -> str:
    minutes = int(_difference(moment, zone, cluster).total_seconds() // 60)
    pairs, carries = set(), set()
    for hour in cron.hours:
        for minute in cron.minutes:
            carry, left = divmod(hour * 60 + minute + minutes, 24 * 60)
            pairs.add(divmod(left, 60))
            carries.add(carry)
    hours, shifted_minutes = {hour for hour, _ in pairs}, {minute for _, minute in pairs}
    open_days = len(cron.days) == 31 and len(cron.months) == 12
    every_day = open_days and len(cron.weekdays) == 7
    writable = len(pairs) == len(hours) * len(shifted_minutes) and (
        every_day or carries == {0} or (open_days and len(carries) == 1)
    )
    if not writable:
        raise InvalidSpec(
            (f"{cron.text!r} in {zone.key} cannot be written as cron in {cluster.key}, which the cluster reads"),
            field="schedule",
            given=cron.text,
            fix=(
                f"choose times that fall on one day there, say --zone {cluster.key}, or set "
                f"CRON_SCHEDULE_TIMEZONE={zone.key} on deployment ml-pipeline-scheduledworkflow and "
                f"cron_zone: {zone.key} in your kfp.yaml"
            ),
        )
    fields = cron.text.split()
    fields[1], fields[2] = _text(shifted_minutes, 0, 59), _text(hours, 0, 23)
    if not every_day and carries != {0}:
        fields[5] = _text({(day + next(iter(carries))) % 7 for day in cron.weekdays}, 0, 6)
    return " ".join(fields)


def _text(numbers: set[int], low: int, high: int) -> str:
    return "*" if numbers == set(range(low, high + 1)) else ",".join(str(number) for number in sorted(numbers))


def fires(stretches: list[Stretch], cluster: ZoneInfo, after: datetime, count: int) -> list[datetime]:
    """When the cluster fires, as its controller works it out."""
    moments: list[datetime] = []
    for stretch in stretches:
        begin = max(after, stretch.start) if stretch.start else after
        firing = parse_cron(stretch.cron).after(begin, cluster)
        moments += islice(takewhile(lambda at, end=stretch.end: end is None or at <= end, firing), count)  # type: ignore[misc]
    return sorted(moments)[:count]


def _check(
    cron: Cron, zone: ZoneInfo, cluster: ZoneInfo, stretches: list[Stretch], begin: datetime, limit: datetime
) -> None:
    """Both readings give the same moments, or nothing is created."""
    wanted = [at for at in islice(cron.after(begin, zone), CHECKED) if at <= limit]
    given = [at for at in fires(stretches, cluster, begin, CHECKED) if at <= limit]
    if wanted != given:
        differ = next(at for at in sorted({*wanted} ^ {*given}))
        shown = f"{differ.astimezone(zone):%Y-%m-%d %H:%M %Z}"
        raise InvalidSpec(
            f"{cron.text!r} in {zone.key} would not fire right at {shown} on a cluster that reads "
            f"cron in {cluster.key}; say --zone {cluster.key}",
            field="schedule",
            given=cron.text,
        )
