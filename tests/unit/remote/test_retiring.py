"""Schedules whose runs go on: changed, paused, resumed and deleted without killing one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shipway.errors import KubeflowError, ShipwayError
from shipway.remote import Connection, connect, kubeflow_run
from shipway.remote.generations import list_schedules
from shipway.remote.schedules import find_schedule
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import FAST


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeflow_run, "POLL_S", 0.02)
    monkeypatch.setattr(kubeflow_run, "SILENT_S", 0.3)


@pytest.fixture
def going(kubeflow: Connection, server: KfpServer, published: str) -> Any:
    """A run in progress of the schedule `nightly`."""
    made = kubeflow.schedule(published, "@daily", name="nightly")
    return server.state.fire(made.parts[0].recurring_run_id)


def ends_well(server: KfpServer, kubeflow: Connection, run: Any) -> bool:
    """Whether Kubeflow hears of a run's end: its Workflow is still there."""
    if run.run_id not in server.state.workflows:
        return False
    server.state.finish(run.run_id)
    return kubeflow.run(run.run_id).state == "Succeeded"


@pytest.mark.parametrize("act", ["change", "resume", "delete"])
def test_a_run_in_progress_goes_on_whatever_is_done_to_its_schedule(
    kubeflow: Connection, server: KfpServer, going: Any, act: str
) -> None:
    if act == "change":
        kubeflow.change_schedule("nightly", when="@weekly")
    elif act == "resume":
        kubeflow.pause_schedule("nightly")
        kubeflow.pause_schedule("nightly", paused=False)
    else:
        (running,) = kubeflow.delete_schedule("nightly")
        assert (running.run, running.name) == (going.run_id, going.display_name)
        assert server.state.recurring == {}
    assert ends_well(server, kubeflow, going)
    assert kubeflow.run(going.run_id).started_by == "schedule"


def test_a_run_of_a_deleted_schedule_can_be_cancelled(kubeflow: Connection, going: Any) -> None:
    kubeflow.delete_schedule("nightly")
    assert kubeflow.run(going.run_id).cancel() == "Cancelled"


def test_a_run_that_starts_while_its_schedule_is_deleted_goes_on_too(
    kubeflow: Connection, server: KfpServer, going: Any
) -> None:
    """Between the look for runs and the deletion."""
    late = []

    def meanwhile(method: str) -> bool:
        if method == "DELETE" and server.state.recurring and not late:
            late.append(server.state.fire(going.recurring_run_id))
        return False

    server.block = meanwhile
    kubeflow.delete_schedule("nightly")
    assert ends_well(server, kubeflow, late[0])


def test_a_schedule_is_disabled_before_it_is_deleted(kubeflow: Connection, server: KfpServer, going: Any) -> None:
    kubeflow.delete_schedule("nightly")
    acts = [path.rpartition("/")[2] for method, path in server.requests if method in ("POST", "DELETE")]
    assert acts.index(f"{going.recurring_run_id}:disable") < acts.index(going.recurring_run_id)


def test_runs_can_be_cancelled_with_the_schedule_those_that_start_meanwhile_too(
    kubeflow: Connection, server: KfpServer, going: Any
) -> None:
    late = []

    def meanwhile(method: str) -> bool:
        if kubeflow_cancels(server) and not late:
            late.append(server.state.fire(going.recurring_run_id))
        return False

    server.block = meanwhile
    assert kubeflow.delete_schedule("nightly", cancel_runs=True) == []
    assert {kubeflow.run(run.run_id).state for run in (going, late[0])} == {"Cancelled"}
    assert server.state.recurring == {}


def kubeflow_cancels(server: KfpServer) -> bool:
    return server.sent("POST", ":terminate") > 0


def test_only_runs_of_the_schedule_are_cancelled_with_it(kubeflow: Connection, published: str, going: Any) -> None:
    other = kubeflow.submit(published)
    kubeflow.delete_schedule("nightly", cancel_runs=True)
    assert kubeflow.run(other.key).state == "Pending"


@pytest.mark.parametrize("cancel_runs", [False, True])
def test_a_deletion_that_breaks_off_at_any_call_kills_nothing_and_is_finished_by_the_next(
    kubeflow: Connection, server: KfpServer, published: str, cancel_runs: bool
) -> None:
    cut = 0
    while True:
        kubeflow.schedule(published, "every day at 01:00", name="nightly", zone="Europe/London")
        started = server.state.fire(find_schedule(kubeflow.api, "nightly").parts[0].recurring_run_id)
        cut += 1
        seen = {"seen": 0}

        def block(method: str, seen: dict[str, int] = seen, allowed: int = cut) -> bool:
            seen["seen"] += method in ("POST", "DELETE", "PATCH")
            return seen["seen"] >= allowed

        server.block = block
        try:
            kubeflow.delete_schedule("nightly", cancel_runs=cancel_runs)
            server.block = None
            break
        except ShipwayError:
            server.block = None
        assert started.run_id in server.state.workflows, f"cut before write {cut}"
        if list_schedules(kubeflow.api):
            kubeflow.delete_schedule("nightly")
        assert server.state.recurring == {}
    assert cut > 3


class TestBefore216:
    """A Kubeflow that deletes a recurring run with its runs, whatever it is told."""

    @pytest.fixture(autouse=True)
    def older(self, server: KfpServer) -> None:
        server.state.leaves_runs = False

    def test_it_is_known_by_what_it_says_to_a_way_of_deleting_that_there_is_not(
        self, kubeflow: Connection, server: KfpServer
    ) -> None:
        assert not kubeflow.api.leaves_runs
        server.state.leaves_runs = True
        assert connect(server.url, patience=FAST).api.leaves_runs

    def test_a_change_leaves_the_old_one_disabled_until_its_run_has_ended(
        self, kubeflow: Connection, server: KfpServer, going: Any
    ) -> None:
        changed = kubeflow.change_schedule("nightly", when="@weekly")
        (listed,) = kubeflow.schedules()  # the old one is no schedule of its own
        assert [(job.recurring_run_id, job.status) for job in listed.older] == [(going.recurring_run_id, "DISABLED")]
        assert (listed.trigger, listed.is_enabled) == ("@weekly", True)
        assert kubeflow.pause_schedule("nightly").parts[0].recurring_run_id == changed.parts[0].recurring_run_id
        kubeflow.pause_schedule("nightly", paused=False)
        assert server.state.recurring[going.recurring_run_id].status == "DISABLED"  # never enabled again
        assert ends_well(server, kubeflow, going)
        find_schedule(kubeflow.api, "nightly")
        assert going.recurring_run_id not in server.state.recurring

    def test_a_deletion_pauses_and_says_why_it_is_not_done_yet(
        self, kubeflow: Connection, server: KfpServer, going: Any
    ) -> None:
        with pytest.raises(KubeflowError, match=rf"paused, and not deleted yet.*before 2.16.*{going.run_id}") as told:
            kubeflow.delete_schedule("nightly")
        assert f"shipway cancel {going.run_id}" in str(told.value)
        assert not find_schedule(kubeflow.api, "nightly").is_enabled
        assert ends_well(server, kubeflow, going)
        kubeflow.delete_schedule("nightly")
        assert server.state.recurring == {}

    def test_runs_that_are_cancelled_first_are_no_hindrance(
        self, kubeflow: Connection, server: KfpServer, going: Any
    ) -> None:
        assert kubeflow.delete_schedule("nightly", cancel_runs=True) == []
        assert server.state.recurring == {}
        assert kubeflow.run(going.run_id).state == "Cancelled"


def test_a_run_whose_workflow_is_gone_is_told_in_one_line_at_each_cancel(
    kubeflow: Connection, server: KfpServer, going: Any
) -> None:
    """Deleted in the UI, which kills it: Kubeflow sets CANCELING, fails, and never hears of the run again."""
    server.state.delete_recurring(going.recurring_run_id, {})
    for _ in range(2):
        with pytest.raises(KubeflowError, match="its Workflow was deleted") as told:
            kubeflow.run(going.run_id).cancel()
        assert f"will call the run Cancelling for ever; put it away: kfp --endpoint {server.url}" in str(told.value)
        assert "\n" not in str(told.value)


def test_a_cancel_that_takes_its_time_is_no_workflow_that_is_gone(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    server.state.cancel_s = 1.0
    assert kubeflow.submit(published).cancel(timeout_s=5) == "Cancelled"


def test_runs_are_looked_for_only_where_any_can_have_been_started(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    start = datetime.now(UTC) + timedelta(days=10)
    kubeflow.schedule(published, "@daily", name="later", start=start)
    before = server.sent("GET", "/runs")
    assert kubeflow.delete_schedule("later") == []
    assert server.sent("GET", "/runs") == before
