"""Schedules: made, changed without a gap, and whole again after a crash at any call."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from shipway.errors import InvalidSpec, KubeflowUnavailable, NotFound, ShipwayError
from shipway.remote import Connection
from shipway.remote.generations import list_schedules
from shipway.remote.schedules import create, find_schedule
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import SMALL


def test_a_schedule_says_what_kubeflow_needs(kubeflow: Connection, server: KfpServer, published: str) -> None:
    made = kubeflow.schedule(published, "every monday at 01:00", params={"start": "4", "name": "bot"})
    (job,) = server.state.recurring.values()
    assert job.trigger.cron_schedule.cron == "0 0 1 * * 1"
    assert (job.no_catchup, job.max_concurrency, job.status) == (True, "1", "ENABLED")
    assert job.runtime_config.parameters == {"start": 4, "name": "bot"}
    assert job.pipeline_version_reference.pipeline_version_id is None  # every run takes the newest
    assert (made.name, made.is_enabled, made.trigger) == ("small-bot", True, "every monday at 01:00")
    assert all(at.strftime("%a %H:%M") == "Mon 01:00" for at in made.next_times("UTC"))


def test_a_run_of_a_schedule_takes_the_newest_version_unless_it_is_pinned(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "@daily", name="floats")
    kubeflow.schedule(f"{published}@1.0", "@daily", name="pinned")
    kubeflow.publish(SMALL.replace(":small", ":smaller"), version="2.0", pin=False)
    pinned = find_schedule(kubeflow.api, "pinned").parts[0].pipeline_version_reference.pipeline_version_id
    assert server.state.versions[pinned].name == "small-v1-0"
    floats = find_schedule(kubeflow.api, "floats").parts[0]
    assert server.state._version_of(floats.pipeline_version_reference).name == "small-v2-0"


def test_an_interval_that_has_no_cron_is_counted(kubeflow: Connection, server: KfpServer, published: str) -> None:
    made = kubeflow.schedule(published, "every 7 minutes")
    (job,) = server.state.recurring.values()
    assert job.trigger.periodic_schedule.interval_second == "420"
    moments = made.next_times("UTC")
    assert {after - before for before, after in pairwise(moments)} == {timedelta(minutes=7)}


def test_clock_changes_are_followed_by_several_recurring_runs(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    planned = kubeflow.plan_schedule(published, "every day at 01:00", zone="Europe/Berlin")
    assert all(f"{at:%H:%M}" == "01:00" for at in planned.next_times(400))
    made = kubeflow.schedule(published, "every day at 01:00", zone="Europe/Berlin")
    assert len(made.parts) == len(server.state.recurring) > 3
    assert all(f"{at:%H:%M}" == "01:00" for at in made.next_times("UTC", 400))
    assert {job.status for job in server.state.recurring.values()} == {"ENABLED"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when": "every mnday"}, "'mnday' is not understood"),
        ({"concurrency": 0}, "got 0, Kubeflow allows 1 to 10"),
        ({"concurrency": 11}, "got 11, Kubeflow allows 1 to 10"),
        ({"zone": "Berlin"}, "unknown time zone 'Berlin'"),
        ({"params": {"strat": 1}}, "strat: unknown parameter"),
        ({"start": datetime(2027, 1, 2, tzinfo=UTC), "end": datetime(2027, 1, 1, tzinfo=UTC)}, "not behind the start"),
        ({"end": datetime(2020, 1, 1, tzinfo=UTC)}, "never fires"),
    ],
)
def test_a_wrong_schedule_is_refused_before_anything_is_made(
    kubeflow: Connection, server: KfpServer, published: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        kubeflow.schedule(published, **{"when": "@daily", **options})
    assert server.state.recurring == {}


def test_a_name_is_given_once(kubeflow: Connection, published: str) -> None:
    kubeflow.schedule(published, "@daily", name="nightly")
    with pytest.raises(InvalidSpec, match=r"there is a 'nightly' already.*schedule change nightly"):
        kubeflow.schedule(published, "@weekly", name="nightly")
    with pytest.raises(NotFound, match=r"no 'nightli'; there are nightly.*did you mean 'nightly'"):
        kubeflow.pause_schedule("nightli")


def test_a_schedule_pauses_resumes_and_goes(kubeflow: Connection, server: KfpServer, published: str) -> None:
    kubeflow.schedule(published, "every day at 01:00", zone="Europe/Berlin", name="nightly")
    assert kubeflow.pause_schedule("nightly").next_times("UTC") == []
    assert {job.status for job in server.state.recurring.values()} == {"DISABLED"}
    assert kubeflow.pause_schedule("nightly", paused=False).is_enabled
    kubeflow.delete_schedule("nightly")
    assert server.state.recurring == {}


def test_a_change_keeps_what_it_does_not_name(kubeflow: Connection, server: KfpServer, published: str) -> None:
    kubeflow.schedule(f"{published}@1.0", "@daily", name="nightly", params={"start": 2, "label": "x"}, concurrency=3)
    changed = kubeflow.change_schedule("nightly", when="every 15 minutes", params={"start": 9})
    (job,) = server.state.recurring.values()
    assert job.trigger.cron_schedule.cron == "0 */15 * * * *"
    assert changed.params == {"start": 9, "label": "x"}
    assert (job.max_concurrency, job.status) == ("3", "ENABLED")
    assert job.pipeline_version_reference.pipeline_version_id is not None
    kubeflow.change_schedule("nightly", version="newest")
    (job,) = server.state.recurring.values()
    assert job.pipeline_version_reference.pipeline_version_id is None


def test_a_paused_schedule_stays_paused_when_it_is_changed(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "@daily", name="nightly")
    kubeflow.pause_schedule("nightly")
    assert not kubeflow.change_schedule("nightly", when="@weekly").is_enabled
    assert [job.status for job in server.state.recurring.values()] == ["DISABLED"]


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("paused", [False, True])
def test_a_change_that_breaks_off_at_any_call_leaves_a_schedule_and_is_mended_by_the_next(
    kubeflow: Connection, server: KfpServer, published: str, zone: str, paused: bool
) -> None:
    """Cut before each writing call in turn: somebody always fires, nobody twice once it is mended."""
    kubeflow.schedule(published, "every day at 01:00", name="nightly", zone=zone)
    if paused:
        kubeflow.pause_schedule("nightly")
    cut = 0
    while True:
        cut += 1
        when = f"every day at {cut % 24:02}:30"
        writes = _cut_after(server, cut - 1)
        try:
            kubeflow.change_schedule("nightly", when=when)
        except ShipwayError:
            server.block = None
            enabled = [job for job in server.state.recurring.values() if job.status == "ENABLED"]
            assert bool(enabled) is not paused, f"cut before write {cut}"
            mended = find_schedule(kubeflow.api, "nightly")
            assert mended.is_whole
            assert mended.is_enabled is not paused
            assert {j.recurring_run_id for j in mended.parts} == set(server.state.recurring), (
                "something was left behind"
            )
            continue
        break
    server.block = None
    assert writes["seen"] < cut
    assert cut > 2
    assert [schedule.trigger for schedule in list_schedules(kubeflow.api)] == [when]


def _cut_after(server: KfpServer, allowed: int) -> dict[str, int]:
    """From the write behind the first `allowed` ones on, the server is gone."""
    seen = {"seen": 0}

    def block(method: str) -> bool:
        seen["seen"] += method in ("POST", "DELETE", "PATCH")
        return seen["seen"] > allowed

    server.block = block
    return seen


def test_a_lost_answer_makes_one_schedule(kubeflow: Connection, server: KfpServer, published: str) -> None:
    server.faults.add("POST", "/recurringruns", reset=True, after=True)
    made = kubeflow.schedule(published, "@daily")
    assert list(server.state.recurring) == [made.parts[0].recurring_run_id]


def test_a_deletion_whose_answer_is_lost_is_done(kubeflow: Connection, server: KfpServer, published: str) -> None:
    kubeflow.schedule(published, "@daily", name="nightly")
    server.faults.add("DELETE", "/recurringruns/[^/]+", reset=True, after=True)
    kubeflow.delete_schedule("nightly")
    assert server.state.recurring == {}


def test_a_recurring_run_made_in_the_ui_is_listed_and_paused_like_ours(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "@daily", name="theirs")
    (job,) = server.state.recurring.values()
    job.description = None
    (listed,) = kubeflow.schedules()
    assert (listed.name, listed.trigger) == ("theirs", "0 0 0 * * *")
    assert len(listed.next_times("UTC")) == 5
    assert not kubeflow.pause_schedule("theirs").is_enabled


def test_a_run_names_the_schedule_that_started_it(kubeflow: Connection, server: KfpServer, published: str) -> None:
    made = kubeflow.schedule(published, "@daily", name="nightly")
    server.state.fire(made.parts[0].recurring_run_id)
    assert kubeflow.run("last").started_by == "schedule"


def test_nobody_there_is_told_as_such(kubeflow: Connection, server: KfpServer) -> None:
    server.block = lambda _method: True
    with pytest.raises(KubeflowUnavailable, match="no answer"):
        kubeflow.schedules()


def _made_elsewhere(server: KfpServer, name: str, **fields: Any) -> Any:
    """A recurring run as a colleague makes one in the UI."""
    job = deepcopy(next(iter(server.state.recurring.values())))
    job.display_name, job.description = name, None
    for key, value in fields.items():
        setattr(job, key, value)
    return server.state.create_recurring(job)


@pytest.mark.parametrize("description", [None, "my own", "a copy of ours"])
def test_a_colleagues_recurring_run_of_the_same_name_is_left_alone(
    kubeflow: Connection, server: KfpServer, published: str, description: str | None
) -> None:
    ours = kubeflow.schedule(published, "@daily", name="nightly").parts[0]
    is_copy = description == "a copy of ours"  # cloned in the UI, which keeps the description
    theirs = _made_elsewhere(
        server, "Clone of nightly" if is_copy else "nightly", description=ours.description if is_copy else description
    )
    assert len(kubeflow.schedules()) == 2
    kubeflow.pause_schedule("nightly")
    kubeflow.change_schedule("nightly", when="@weekly")
    assert server.state.recurring[theirs.recurring_run_id].status == "ENABLED"
    kubeflow.delete_schedule("nightly")
    assert list(server.state.recurring) == [theirs.recurring_run_id]


def test_several_of_one_name_made_elsewhere_are_told_apart_by_their_ids(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "@daily", name="gone")
    first, second = (_made_elsewhere(server, "theirs") for _ in range(2))
    with pytest.raises(InvalidSpec, match=rf"2 recurring runs are called 'theirs'.*{second.recurring_run_id}"):
        kubeflow.pause_schedule("theirs")
    kubeflow.pause_schedule(second.recurring_run_id)
    assert (first.status, second.status) == ("ENABLED", "DISABLED")


@pytest.mark.slow
def test_a_change_of_one_made_elsewhere_that_breaks_off_is_mended_too(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    """It becomes ours; a namesake that was not changed stays."""
    kubeflow.schedule(published, "@daily", name="gone")
    theirs, cut = _made_elsewhere(server, "theirs"), 0
    kubeflow.delete_schedule("gone")
    while True:
        cut += 1
        writes = _cut_after(server, cut - 1)
        try:
            kubeflow.change_schedule(theirs.recurring_run_id, when="@weekly")
        except ShipwayError:
            server.block = None
            mended = find_schedule(kubeflow.api, "theirs")
            assert [job.status for job in server.state.recurring.values()] == ["ENABLED"]
            if mended.said:
                break
            continue
        server.block = None
        break
    assert writes["seen"] >= 3
    assert find_schedule(kubeflow.api, "theirs").trigger == "@weekly"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("same_second", [True, False])
def test_of_two_processes_that_make_the_same_schedule_one_is_told_and_one_schedule_stays(
    kubeflow: Connection, server: KfpServer, published: str, zone: str, same_second: bool
) -> None:
    """The second has looked, found nothing, and creates while the first does."""
    made = kubeflow.plan_schedule(published, "every day at 01:00", name="nightly", zone=zone)
    other = kubeflow.plan_schedule(published, "every day at 02:00", name="nightly", zone=zone)
    first = create(kubeflow.api, made)
    hidden, server.state.recurring = server.state.recurring, {}

    def appears(method: str) -> bool:
        if method == "POST":
            server.state.recurring.update(hidden)
        if same_second:
            for job in server.state.recurring.values():
                job.created_at = datetime(2026, 11, 21, 12, tzinfo=UTC)
        return False

    server.block = appears
    told = ""
    try:
        create(kubeflow.api, other)
    except InvalidSpec as error:
        told = str(error)
    server.block = None
    stays = find_schedule(kubeflow.api, "nightly")
    assert stays.is_whole
    assert stays.is_enabled
    assert {part.recurring_run_id for part in stays.parts} == set(server.state.recurring)
    if zone == "UTC" or not same_second:
        theirs = {part.recurring_run_id for part in first.parts} == {part.recurring_run_id for part in stays.parts}
        assert theirs is bool(told)  # who is not told has what they asked for
    if not same_second:
        assert stays.trigger == "every day at 01:00"
        assert {part.recurring_run_id for part in stays.parts} == {part.recurring_run_id for part in first.parts}
        assert "somebody else made 'nightly' at the same moment" in told
