"""Moments of a schedule: against the controller's own parser, against brute force, over clock changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import InvalidSpec
from shipway.remote.cron import parse_cron
from shipway.remote.english import parse_when
from shipway.remote.zones import Stretch, find_zone, fires, stretches

# Worked out by robfig/cron 1.2.0, which Kubeflow's controller uses: cron -> zone -> after -> the next four moments.
MOMENTS = json.loads((Path(__file__).parents[2] / "fixtures" / "cron_moments.json").read_text())
BERLIN, LONDON, NEW_YORK, CLUSTER = (
    ZoneInfo(name) for name in ("Europe/Berlin", "Europe/London", "America/New_York", "UTC")
)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("cron", MOMENTS)
def test_a_schedule_fires_when_the_controllers_own_parser_says_so(cron: str) -> None:
    for zone, afters in MOMENTS[cron].items():
        for after, moments in afters.items():
            found = islice(parse_cron(cron).after(datetime.fromisoformat(after), ZoneInfo(zone)), 4)
            assert [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in found] == moments, (zone, after)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 20)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    one = st.one_of(number.map(str), span, step)
    return st.one_of(st.just("*"), st.lists(one, min_size=1, max_size=3).map(",".join))


@settings(max_examples=60, deadline=None)
@given(
    minute=field(0, 59), hour=field(0, 23), day=field(1, 31), weekday=field(0, 6),
    zone=st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("Asia/Kolkata"), ZoneInfo("Australia/Lord_Howe")]),
    start=st.sampled_from(["2027-03-26T10:17:00+00:00", "2027-10-29T23:59:00+00:00", "2028-02-27T00:00:00+00:00"]),
)  # fmt: skip
def test_every_minute_of_a_week_is_judged_as_brute_force_does(
    minute: str, hour: str, day: str, weekday: str, zone: ZoneInfo, start: str
) -> None:
    cron = parse_cron(f"0 {minute} {hour} {day} * {weekday}")
    begin = datetime.fromisoformat(start)
    end = begin + timedelta(days=7)
    wanted = []
    for number in range(1, 7 * 24 * 60 + 1):
        at = begin + timedelta(minutes=number)
        local = at.astimezone(zone)
        if local.minute in cron.minutes and local.hour in cron.hours and cron.fits_day(local.date()):
            wanted.append(at)
    found = []
    for at in cron.after(begin, zone):
        if at > end:
            break
        found.append(at)
    assert found == wanted


@pytest.mark.parametrize(
    ("typed", "six"),
    [
        ("0 1 * * *", "0 0 1 * * *"),  # five fields would be seconds to months for Kubeflow
        ("0 0 1 * * *", "0 0 1 * * *"),
        ("15 1 * * 7", "0 15 1 * * 0"),
        ("0 1 * * 5-7", "0 0 1 * * 0,5,6"),
        ("0 1 * jan-mar MON", "0 0 1 * jan-mar MON"),
        ("@daily", "0 0 0 * * *"),
    ],
)
def test_cron_becomes_six_fields(typed: str, six: str) -> None:
    assert parse_cron(typed).text == six


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("every monday at 01:00", "0 0 1 * * 1"),
        ("every 15 minutes", "0 */15 * * * *"),
        ("every weekday at 06:30", "0 30 6 * * 1,2,3,4,5"),
        ("Every Day at 6:30 PM", "0 30 18 * * *"),
        ("daily at noon", "0 0 12 * * *"),
        ("every mon, wed and fri at 5am", "0 0 5 * * 1,3,5"),
        ("on saturdays and sundays at 12 am", "0 0 0 * * 0,6"),
        ("every weekend at 10:00", "0 0 10 * * 0,6"),
        ("every month on the 1st and the 15th at 02:00", "0 0 2 1,15 * *"),
        ("every week on friday at 18:00", "0 0 18 * * 5"),
        ("hourly", "0 0 * * * *"),
        ("every 6 hours", "0 0 */6 * * *"),
        ("every 7 minutes", "every 420 s"),
        ("every 2 days", "every 172800 s"),
    ],
)
def test_words_become_a_schedule(words: str, told: str) -> None:
    assert parse_when(words).text == told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("every mnday at 01:00", "'mnday' is not understood.*did you mean 'monday'"),
        ("every 30 seconds", "at least 1 minute"),
        ("every day at 25:00", "'25:00' is no time of day"),
        ("every day at 5", "'5' is no time of day; say 01:00"),
        ("every 2 hours at 05:00", "a time of day goes with"),
        ("every month on the 31st", "no day that every month has"),
        ("61 * * * *", "minute '61': '61' is outside 0 to 59"),
        ("0 0 * * fri-mon", "outside 0 to 6 or sun.*from the smaller number to the larger"),
        ("0 0 30 2 *", "never comes"),
        ("@dayly", "unknown '@dayly'.*did you mean '@daily'"),
        ("1 2 3", "has 3 fields; expected six"),
        ("*/0 * * * *", "a step is at least 1"),
    ],
)
def test_what_cannot_be_understood_says_what_can(words: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        parse_when(words)


def test_one_in_the_morning_stays_one_in_the_morning_when_clocks_change() -> None:
    cron = parse_cron("0 1 * * 1")
    found = stretches(cron, BERLIN, CLUSTER, NOW, None)
    assert [stretch.cron for stretch in found[:2]] == ["0 0 0 * * 1", "0 0 23 * * 0"]
    moments = fires(found, CLUSTER, NOW, 60)
    assert {f"{at.astimezone(BERLIN):%a %H:%M}" for at in moments} == {"Mon 01:00"}
    assert len({at.astimezone(BERLIN).utcoffset() for at in moments}) == 2


@settings(max_examples=40, deadline=None)
@given(
    hour=st.integers(0, 23), minute=st.sampled_from([0, 1, 29, 30, 59]), weekday=st.sampled_from("*06"),
    zone=st.sampled_from([BERLIN, LONDON, NEW_YORK, ZoneInfo("Asia/Kolkata"), ZoneInfo("Australia/Sydney")]),
    cluster=st.sampled_from([CLUSTER, NEW_YORK, ZoneInfo("Asia/Tokyo")]),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),
)  # fmt: skip
def test_what_the_cluster_fires_is_what_the_persons_clock_says(
    hour: int, minute: int, weekday: str, zone: ZoneInfo, cluster: ZoneInfo, start: datetime
) -> None:
    begin = start.replace(tzinfo=UTC, microsecond=0)
    cron = parse_cron(f"{minute} {hour} * * {weekday}")
    found = stretches(cron, zone, cluster, begin, begin + timedelta(days=500))
    limit = begin + timedelta(days=500)
    wanted = [at for at in islice(cron.after(begin, zone), 505) if at <= limit]
    assert [at for at in fires(found, cluster, begin, 505) if at <= limit] == wanted


def test_a_schedule_of_all_hours_needs_no_shift() -> None:
    assert stretches(parse_cron("*/15 * * * *"), BERLIN, CLUSTER, None, None) == [Stretch("0 */15 * * * *", None, None)]


def test_what_cannot_be_shifted_says_what_to_set_on_the_cluster() -> None:
    with pytest.raises(InvalidSpec, match=r"cannot be written as cron in UTC.*CRON_SCHEDULE_TIMEZONE=Europe/Berlin"):
        stretches(parse_cron("0 0 1 * *"), BERLIN, CLUSTER, NOW, None)  # the 1st there is the last of a month here
    assert stretches(parse_cron("0 0 1 * *"), BERLIN, BERLIN, None, None) == [Stretch("0 0 0 1 * *", None, None)]


def test_an_unknown_zone_names_the_nearest() -> None:
    with pytest.raises(InvalidSpec, match=r"unknown time zone 'Europe/Berln'.*did you mean 'Europe/Berlin'"):
        find_zone("Europe/Berln")
