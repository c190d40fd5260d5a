"""Schedules on a real controller: they fire, lose slots, are changed and deleted, and leave a running run alone."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from shipway.remote import connect
from shipway.runs import Run
from tests.kubeflow.conftest import PIPELINES
from tests.kubeflow.place import Place, until

EVERY_MINUTE = "0 * * * * *"


@pytest.fixture(scope="module")
def waiting(place: Place) -> str:
    """A published pipeline that waits."""
    done = place.json("publish", f"{PIPELINES}:kft_wait", "--version", place.version, *place.images)
    return f"{done['pipeline']}@{done['version']}"


def runs_of(name: str) -> list[Run]:
    """Runs that recurring runs of that name started, the newest first."""
    return [run for run in connect().runs(50) if name in run.name]


def running(name: str) -> Run | None:
    return next((run for run in runs_of(name) if run.state == "Running"), None)


def ended(run: Run) -> bool:
    return run.refresh().state not in ("Pending", "Running", "Cancelling")


@pytest.fixture
def scheduled(place: Place, waiting: str) -> str:
    """A schedule whose runs take longer than the time between them."""
    name = f"kft-{place.mark}-{uuid.uuid4().hex[:4]}"
    options = ["--when", EVERY_MINUTE, "--name", name]
    place.shipway("schedule", "create", waiting, *options, "--param", "seconds=70", f"name={name}")
    return name


def test_a_schedule_fires_and_shows_the_slots_that_it_lost(place: Place, scheduled: str) -> None:
    with place.measured("first fire of a schedule, after its slot") as row:
        run = until(lambda: running(scheduled), "it fires", 180)
        began = run.started_at
    assert began is not None
    row.seconds = float(began.second)
    place.rows[-1] = row
    until(lambda: ended(run), "the first run ends", 240)
    shown = place.json("schedule", "show", scheduled)
    lost = [slot for slot in shown["slots"] if slot["outcome"] == "lost"]
    assert lost, shown["slots"]
    assert f"run {run.name} was still going" in lost[0]["why"]
    place.shipway("schedule", "pause", scheduled)


@pytest.mark.parametrize("verb", ["change", "delete"])
def test_a_run_in_progress_goes_on_when_its_schedule_changes(place: Place, scheduled: str, verb: str) -> None:
    run = until(lambda: running(scheduled), "it fires", 180)
    until(lambda: place.workflow(run.key), "its workflow is there")
    more = ["--when", "0 0 4 * * *", "--yes"] if verb == "change" else []
    told = place.shipway("schedule", verb, scheduled, *more)
    assert verb == "change" or run.name in told.stdout, "which runs go on"
    time.sleep(5)
    assert place.workflow(run.key) is not None
    until(lambda: ended(run), "it ends", 240)
    assert run.state == "Succeeded"
    assert run.steps["wait"].state == "Succeeded"
    listed = [schedule["name"] for schedule in place.json("schedule", "list")]
    assert (scheduled in listed) is (verb == "change")
    left = [job for job in connect().api.recurring() if scheduled in str(job.display_name)]
    assert len(left) == (1 if verb == "change" else 0), "what has drained is gone"


def test_pause_and_resume_leave_a_running_run_alone(place: Place, scheduled: str) -> None:
    run = until(lambda: running(scheduled), "it fires", 180)
    place.shipway("schedule", "pause", scheduled)
    place.shipway("schedule", "resume", scheduled)
    assert place.workflow(run.key) is not None
    place.shipway("schedule", "pause", scheduled)
    until(lambda: ended(run), "it ends", 240)
    assert run.state == "Succeeded"


def test_a_schedules_run_is_named_as_its_starter(place: Place, scheduled: str) -> None:
    run = until(lambda: running(scheduled), "it fires", 180)
    row: dict[str, Any] = next(row for row in place.json("runs", "list") if row["run"] == run.key)
    assert row["started_by"] == f"schedule {scheduled}"
    place.shipway("schedule", "delete", scheduled, "--cancel-runs")
    until(lambda: ended(run), "it is cancelled", 120)
    assert run.state == "Cancelled"
