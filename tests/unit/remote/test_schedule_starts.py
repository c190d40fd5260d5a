"""When a schedule begins: what Kubeflow's controller starts at once, how far ahead clock changes are written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shipway.errors import InvalidSpec
from shipway.remote import Connection
from shipway.remote.generations import list_schedules
from tests.fixtures.kfp_controller import Controller
from tests.fixtures.kfp_server import KfpServer

DAY = timedelta(days=1)
LONG_AGO = datetime.now(UTC).replace(microsecond=0) - 400 * DAY


@pytest.fixture
def controller(server: KfpServer) -> Controller:
    return Controller(server.state)


def begun_long_ago(server: KfpServer, **said: Any) -> None:
    """The recurring runs as version 0.1 would have left them: whole words in the mark, the first's start passed."""
    for job in server.state.recurring.values():
        document = {
            "name": "nightly", "when": "every day at 01:00", "zone": "Europe/Berlin", "generation": 1, "part": 1,
            "parts": len(server.state.recurring), "experiment": "Default", "mark": "0a1b2c3d",
            "start": LONG_AGO.isoformat(), **said,
        }  # fmt: skip
        name, _, number = job.display_name.partition(" (")
        document |= {"name": name, "part": int(number.split()[0]) if number else 1}
        job.description = "Schedule of Shipway " + json.dumps(document)
        if document["part"] == 1:
            job.trigger.cron_schedule.start_time = LONG_AGO


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("catchup", [False, True])
def test_a_change_of_a_schedule_that_began_long_ago_starts_nothing_at_once(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller, zone: str, catchup: bool
) -> None:
    kubeflow.schedule(published, "every day at 01:00", name="nightly", zone=zone, catchup=catchup)
    begun_long_ago(server, zone=zone)
    changed = kubeflow.change_schedule("nightly", params={"label": "x"})
    assert controller.look() == []
    assert changed.said["start"] == LONG_AGO.isoformat()  # what was said is not forgotten
    tomorrow = datetime.now(UTC) + DAY
    assert len(controller.look(tomorrow)) == 1


def test_a_change_moves_the_horizon_of_a_schedule_that_began_long_ago(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "every day at 01:00", name="nightly", zone="Europe/Berlin")
    begun_long_ago(server)
    changed = kubeflow.change_schedule("nightly")
    assert changed.horizon is not None
    assert changed.horizon > datetime.now(UTC) + 700 * DAY
    ends = [part.trigger.cron_schedule.end_time for part in changed.parts]
    assert all(end > datetime.now(UTC) for end in ends), "a stretch that has passed was made"


@pytest.mark.parametrize("when", ["every day at 01:00", "every 7 minutes"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_without_catch_up_a_start_that_has_passed_means_from_now_on(
    kubeflow: Connection, published: str, controller: Controller, zone: str, when: str
) -> None:
    made = kubeflow.plan_schedule(published, when, zone=zone, start=LONG_AGO)
    assert made.starts_at_once == 0
    kubeflow.schedule(published, when, zone=zone, start=LONG_AGO)
    assert controller.look() == []
    assert len(controller.look(made.next_times(1)[0] + timedelta(minutes=1))) == 1


@pytest.mark.parametrize("when", ["every day at 01:00", "every 36 hours"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_with_catch_up_the_plan_says_how_many_runs_start_at_once(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller, zone: str, when: str
) -> None:
    made = kubeflow.plan_schedule(published, when, zone=zone, start=LONG_AGO, catchup=True)
    kubeflow.schedule(published, when, zone=zone, start=LONG_AGO, catchup=True)
    first = controller.look()  # one after the other in each stretch, since one may go on at the same time
    assert len(first) == made.at_the_same_time
    for run in first:
        server.state.finish(run.run_id)
    assert len(first) + len(controller.play()) == made.starts_at_once > 200
    next_time = made.next_times(1)[0]
    assert controller.look(next_time - timedelta(seconds=1)) == []
    assert len(controller.look(next_time)) == 1


def test_a_past_that_is_only_made_up_for_can_be_scheduled(
    kubeflow: Connection, published: str, controller: Controller
) -> None:
    window = {"start": LONG_AGO, "end": LONG_AGO + 10 * DAY}
    with pytest.raises(InvalidSpec, match="never fires"):
        kubeflow.schedule(published, "@daily", **window)
    kubeflow.schedule(published, "@daily", **window, catchup=True)
    assert len(controller.play()) == 10


@pytest.mark.parametrize(("catchup", "runs"), [(False, 0), (True, 3)])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_resumed_schedule_makes_up_for_what_it_missed_only_with_catch_up(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller, zone: str, catchup: bool, runs: int
) -> None:
    kubeflow.schedule(published, "every day at 01:00", name="nightly", zone=zone, catchup=catchup)
    kubeflow.pause_schedule("nightly")
    for job in server.state.recurring.values():  # three days pass
        job.created_at -= 3 * DAY
    assert controller.look() == []
    assert kubeflow.pause_schedule("nightly", paused=False).is_enabled
    assert len(controller.play()) == runs


def test_the_controller_starts_what_kubeflows_would(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller
) -> None:
    """The stand-in itself: the last slot without catch-up, every one with it, once for each stretch that has passed."""
    for name, no_catchup in (("one", True), ("all", False)):
        kubeflow.schedule(published, "every day at 01:00", name=name)
        job = next(job for job in server.state.recurring.values() if job.display_name == name)
        job.no_catchup, job.trigger.cron_schedule.start_time = no_catchup, LONG_AGO
    started = [run.display_name[:3] for run in controller.play()]
    assert started.count("one") == 1
    assert started.count("all") in (399, 400, 401)
    assert controller.look() == []


def test_a_schedule_whose_clock_changes_run_out_is_made_anew_in_time(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "every day at 01:00", name="nightly", zone="Europe/Berlin")
    kubeflow.schedule(published, "@daily", name="endless")
    kubeflow.schedule(published, "@daily", name="short", end=datetime.now(UTC) + 30 * DAY)
    assert [schedule.name for schedule in list_schedules(kubeflow.api) if schedule.runs_out] == []
    for job in server.state.recurring.values():
        if job.display_name.startswith("nightly"):
            job.trigger.cron_schedule.end_time = datetime.now(ZoneInfo("Europe/Berlin")) + 80 * DAY
    assert [schedule.name for schedule in list_schedules(kubeflow.api) if schedule.runs_out] == ["nightly"]
    assert not kubeflow.change_schedule("nightly").runs_out
