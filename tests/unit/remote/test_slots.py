"""What came of a schedule's slots: the runs, and those that were lost because a run was still going."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

from shipway.remote import Connection
from shipway.remote.schedules import find_schedule
from shipway.remote.slots import Slot
from tests.fixtures.kfp_controller import Controller
from tests.fixtures.kfp_server import KfpServer

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment that stands still: this file may have been imported long ago, and a minute may end within a test."""
    moment = datetime.now(UTC).replace(microsecond=0)

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return moment.astimezone(tz)

    monkeypatch.setattr(sys.modules[__name__], "NOW", moment)
    monkeypatch.setattr("shipway.remote.slots.datetime", Standing)


@pytest.fixture
def controller(server: KfpServer) -> Controller:
    return Controller(server.state)


def begin(server: KfpServer, at: datetime) -> Any:
    (job,) = server.state.recurring.values()
    job.created_at = at
    return job


def play(server: KfpServer, controller: Controller, until: datetime, run_s: float) -> list[Any]:
    """Minutes passed in ten-second looks; a run takes `run_s` seconds, the last ones are still going."""
    (job,) = server.state.recurring.values()
    at, started = job.created_at, list[Any]()
    while at <= until:
        for run in started:
            if run.state == "PENDING" and (at - run.created_at).total_seconds() >= run_s:
                server.state.finish(run.run_id)
                run.finished_at = at
        started += controller.look(at)
        at += timedelta(seconds=10)
    return started


def slots(kubeflow: Connection, name: str = "often", count: int = 20) -> list[Slot]:
    return kubeflow.slots(find_schedule(kubeflow.api, name), count)


def test_slots_that_a_run_in_progress_took_are_lost_and_name_it(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller
) -> None:
    """Every minute, runs of 150 seconds: the next one starts late, and the slots before it are lost."""
    kubeflow.schedule(published, "every minute", name="often")
    start = NOW.replace(second=0) - timedelta(minutes=9, seconds=30)
    begin(server, start)
    started = play(server, controller, start + timedelta(minutes=8), 150)
    found = slots(kubeflow)
    first, second = started[0].display_name, started[1].display_name
    assert [slot.outcome for slot in found[:4]] == ["Succeeded", "lost", "Succeeded", "lost"]
    assert found[0].run == started[0].run_id
    assert found[1].why == f"run {first} was still going"
    assert found[2].why == f"30 s late: run {first} was still going"
    assert found[3].why == f"run {second} was still going"
    assert {slot.run for slot in found if slot.run} == {run.run_id for run in started}


def test_a_slot_that_the_running_run_holds_up_is_waiting(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller
) -> None:
    kubeflow.schedule(published, "every minute", name="often")
    begin(server, NOW.replace(second=0) - timedelta(minutes=3, seconds=30))
    started = play(server, controller, NOW, 10_000)
    found = slots(kubeflow)
    assert [slot.outcome for slot in found] == ["Pending", *["lost"] * (len(found) - 2), "waiting"]
    assert found[-1].why == f"run {started[0].display_name} is still going"


def test_with_room_for_two_at_the_same_time_fewer_are_lost(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller
) -> None:
    kubeflow.schedule(published, "every minute", name="often", concurrency=2)
    start = NOW.replace(second=0) - timedelta(minutes=9, seconds=30)
    begin(server, start)
    play(server, controller, start + timedelta(minutes=8), 110)
    assert [slot.outcome for slot in slots(kubeflow)[:6]] == ["Succeeded"] * 6


def test_with_catch_up_none_is_lost_and_each_run_has_its_slot(
    kubeflow: Connection, server: KfpServer, published: str, controller: Controller
) -> None:
    kubeflow.schedule(published, "every minute", name="often", catchup=True)
    start = NOW.replace(second=0) - timedelta(minutes=9, seconds=30)
    begin(server, start)
    started = play(server, controller, NOW, 150)
    found = slots(kubeflow)
    assert [slot.run for slot in found[: len(started)]] == [run.run_id for run in started]
    assert "was still going" in found[1].why
    assert {slot.outcome for slot in found[len(started) :]} == {"waiting"}  # its turn comes
    assert all(started[-1].display_name in slot.why for slot in found[len(started) : -1])


def test_the_slot_is_what_kubeflow_says_where_a_version_is_pinned(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(f"{published}@1.0", "every minute", name="often")
    job = begin(server, NOW.replace(second=0) - timedelta(minutes=4, seconds=30))
    slot = NOW.replace(second=0) - timedelta(minutes=3)
    run = server.state.fire(job.recurring_run_id, slot + timedelta(seconds=70), slot)
    assert next(one.at for one in slots(kubeflow) if one.run == run.run_id) == slot


def test_slots_of_a_paused_schedule_say_so_and_those_nobody_ran_are_told(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "every minute", name="often")
    begin(server, NOW - timedelta(minutes=10))
    found = slots(kubeflow, count=5)
    assert len(found) == 5
    assert {slot.outcome for slot in found[:3]} == {"none"}
    assert "started no run" in found[0].why
    kubeflow.pause_schedule("often")
    assert {slot.why for slot in slots(kubeflow)} == {"the schedule is paused"}


def test_years_of_slots_are_not_counted_for_the_last_few(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    kubeflow.schedule(published, "every day at 01:00", name="often", zone="Europe/Berlin")
    for job in server.state.recurring.values():
        if job.display_name.startswith("often (1 of"):
            job.created_at = NOW - timedelta(days=4000)
    found = slots(kubeflow, count=3)
    assert [f"{slot.at:%H:%M}" for slot in found] == ["01:00"] * 3
    assert found[-1].at > NOW - timedelta(days=2)


def test_a_schedule_that_was_not_to_run_yet_has_no_slots(kubeflow: Connection, published: str) -> None:
    kubeflow.schedule(published, "@daily", name="often", start=NOW + timedelta(days=3))
    assert slots(kubeflow) == []
