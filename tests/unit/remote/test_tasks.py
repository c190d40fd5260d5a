"""A run's steps are its pipeline's tasks, whatever nodes the Workflow has; and what it came to is told by one rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.cli.logs import print_pods
from shipway.errors import InvalidSpec
from shipway.remote import Connection
from shipway.runs import Run
from shipway.storage import Store
from tests.fixtures.kfp_nodes import CACHED, DRIVER_FAILED
from tests.fixtures.kfp_server import KfpServer

TITLES = {"add": "Prepare the dataset", "model": "Evaluate", "tell": "Tell how it went"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path / 'store'}")
    return Store.open()


def states(run: Run) -> dict[str, str]:
    return {step.task: step.state for step in run.refresh().steps.values()}


def keep(store: Store, run: str, task: str, **more: object) -> None:
    fields = {"run": run, "task": task, "state": "Succeeded", "started_at": "2026-11-21T12:00:00+00:00", **more}
    record = StepRecord.model_validate(fields)
    store.put(f"runs/{run}/steps/{record.name}.json", record.to_json().encode())


def test_the_steps_of_a_run_are_the_tasks_of_its_pipeline_with_their_titles(
    kubeflow: Connection, server: KfpServer, handled: str
) -> None:
    run = kubeflow.submit(handled)
    assert states(run) == dict.fromkeys(TITLES, "Pending")
    server.state._show(server.state.runs[run.key], "RUNNING", {"add": "SUCCEEDED", "model": "RUNNING"})
    assert states(run) == {"add": "Succeeded", "model": "Running", "tell": "Pending"}
    server.state.finish(run.key, "FAILED", add="FAILED", tell="SUCCEEDED")
    assert states(run) == {"add": "Failed", "model": "Skipped", "tell": "Succeeded"}
    assert {step.task: step.title for step in run.steps.values()} == TITLES
    assert run.summary()["steps"][0]["title"] == "Prepare the dataset"
    assert "Prepare the dataset" in run._repr_html_()


def test_a_driver_that_failed_is_its_tasks_failure_and_the_task_is_the_culprit(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store
) -> None:
    run = kubeflow.submit(handled)
    server.state.finish(run.key, "FAILED", add="SUCCEEDED", model=DRIVER_FAILED, tell="SUCCEEDED")
    keep(store, run.key, "add")
    assert states(run) == {"add": "Succeeded", "model": "Failed", "tell": "Succeeded"}
    error = run.summary()["error"]
    assert (error["step"], error["kind"]) == ("model", "Lost")
    assert "its pod never started" in error["message"]


def test_a_run_that_failed_before_any_step_names_kubeflows_own_driver(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store
) -> None:
    run = kubeflow.submit(handled)
    server.state.finish(run.key, "FAILED")
    for entry in server.state.runs[run.key].run_details.task_details:
        entry.state = "FAILED" if entry.display_name == "root-driver" else entry.state
    assert states(run) == dict.fromkeys(TITLES, "Skipped")
    assert "root-driver failed, before any step could" in run.summary()["error"]["message"]


def test_without_its_version_a_run_has_plain_names_and_none_of_kubeflows_own(
    kubeflow: Connection, server: KfpServer, handled: str
) -> None:
    run = kubeflow.submit(handled)
    server.state.finish(run.key, "SUCCEEDED", add="SUCCEEDED", model="SUCCEEDED", tell="SUCCEEDED")
    server.state.versions.clear()
    assert states(run) == dict.fromkeys(TITLES, "Succeeded")
    assert {step.title for step in run.steps.values()} == {""}


def test_a_cached_task_is_told_from_one_that_worked(kubeflow: Connection, server: KfpServer, handled: str) -> None:
    run = kubeflow.submit(handled)
    server.state.finish(run.key, "SUCCEEDED", add=CACHED, model="SUCCEEDED", tell="SUCCEEDED")
    assert states(run) == {"add": "Cached", "model": "Succeeded", "tell": "Succeeded"}
    assert [step["cached"] for step in run.summary()["steps"]] == [True, False, False]


def made_by(run: str, task: str) -> str:
    return f"s3://bucket/root/handled/{run}/{task}/1f0e/evaluation"


def test_a_cached_step_says_what_the_run_that_did_the_work_recorded(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, run = kubeflow.submit(handled), kubeflow.submit(handled)
    shown = [{"name": "accuracy", "title": "Accuracy", "is_share": True}]
    outputs = {"split": "test", "metrics": {"accuracy": 0.9, "ece": 0.1}, "shown": shown}
    keep(
        store, first.key, "model", role="evaluate", outputs=outputs, reports={"Evaluation": "s3://shipway/e.html"},
        made={"evaluation": made_by(first.key, "model")},
    )  # fmt: skip
    keep(store, run.key, "gate", started_at="2026-11-21T12:00:09+00:00", inputs={"e": made_by(first.key, "model")})
    server.state.finish(run.key, "SUCCEEDED", add=CACHED, model=CACHED, tell="SUCCEEDED")
    steps = run.refresh().steps
    assert (steps["model"].state, steps["model"].cached_from) == ("Cached", first.key)
    assert (steps["model"].title, steps["model"].run) == ("Evaluate", run.key)
    assert steps["add"].state == "Cached", "though nobody knows who made it"
    print_pods(run, "Evaluate", follow=False, tail=0)
    assert f"From the cache: shipway logs {first.key} model" in capsys.readouterr().out
    assert (run.metrics, run.figures) == ({"test_accuracy": 0.9}, "test accuracy 90.0 %")
    assert run.summary()["reports"] == {"Evaluation": "s3://shipway/e.html"}


def parts(**states: str) -> list[StepRecord]:
    return [
        StepRecord(run="r", role=role, task=f"classifier.{role}", state=state)  # type: ignore[arg-type]
        for role, state in states.items()
    ]


def test_the_parts_of_a_task_stand_in_its_place(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store
) -> None:
    run = kubeflow.submit(handled)
    keep(store, run.key, "model", parts=parts(gate="Succeeded", register="Skipped"))
    server.state.finish(run.key, "SUCCEEDED", add="SUCCEEDED", model="SUCCEEDED", tell="SUCCEEDED")
    shown = {step["role"] or step["task"]: step["state"] for step in run.refresh().summary()["steps"]}
    assert shown == {"add": "Succeeded", "gate": "Succeeded", "register": "Skipped", "tell": "Succeeded"}


def test_a_part_that_was_lost_is_the_culprit_and_so_is_a_whole_that_was_lost_between_its_parts(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store
) -> None:
    run = kubeflow.submit(handled)
    keep(store, run.key, "model", state="Running", parts=parts(gate="Running", register="Skipped"))
    server.state.finish(run.key, "FAILED", add="SUCCEEDED", model="FAILED", tell="SUCCEEDED")
    found = run.refresh().summary()
    assert [step["role"] for step in found["steps"] if step["state"] == "Failed"] == ["gate"]
    assert found["error"]["step"] == "model", "whose log there is"
    keep(store, run.key, "model", state="Running", parts=parts(gate="Succeeded", register="Skipped"))
    found = run.refresh().summary()
    assert [step["task"] for step in found["steps"] if step["state"] == "Failed"] == ["model"]


# How it ended


def noted(store: Store, run: str, state: str, at: datetime) -> None:
    record = RunRecord(run=run, pipeline="p", state=state, started_at=at.isoformat(), seconds=1.0)  # type: ignore[arg-type]
    store.put(f"runs/{run}/run.json", record.to_json().encode())


def test_a_retry_that_succeeded_is_succeeded_though_the_record_of_the_first_end_stays(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store
) -> None:
    run = kubeflow.submit(handled)
    keep(store, run.key, "add", state="Failed", error=StepError(kind="JobFailed", message="lost"))
    noted(store, run.key, "Failed", datetime.now(UTC))
    server.state.finish(run.key, "FAILED", add="FAILED", tell="SUCCEEDED")
    assert run.refresh().summary()["error"]["message"] == "lost"
    run.retry()
    assert states(run)["add"] in ("Pending", "Failed", "Running")
    server.state.finish(run.key, "SUCCEEDED", add="SUCCEEDED", model="SUCCEEDED", tell="SUCCEEDED")
    found = run.refresh().summary()
    assert (found["state"], found["error"]) == ("Succeeded", None)
    assert {step["state"] for step in found["steps"]} == {"Succeeded"}


def test_a_run_that_was_cancelled_and_failed_after_a_retry_is_failed(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    server.state.cancel_s = 0.0
    run = kubeflow.submit(published)
    assert run.cancel() == "Cancelled"
    run.retry()
    assert run.state == "Running"
    server.state.finish(run.key, "FAILED", add="FAILED")
    assert run.refresh().state == "Failed"


def test_a_cancel_that_kubeflow_never_wrote_down_is_known_by_the_last_steps_word(
    kubeflow: Connection, server: KfpServer, published: str, store: Store
) -> None:
    server.state.cancel_s, server.state.hears_cancel = 0.0, False
    run = kubeflow.submit(published)
    kubeflow.api.terminate(run.key)
    assert "CANCELING" not in [status.state for status in server.state.runs[run.key].state_history]
    assert run.refresh().state == "Failed"
    noted(store, run.key, "Cancelled", datetime.now(UTC))
    assert run.refresh().state == "Cancelled"
    run.retry()
    server.state.finish(run.key, "FAILED", add="FAILED")
    noted(store, run.key, "Cancelled", datetime.now(UTC) - timedelta(hours=1))
    assert run.refresh().state == "Failed", "that word was of the attempt before"


def test_a_run_past_its_deadline_says_so(kubeflow: Connection, server: KfpServer, published: str) -> None:
    run = kubeflow.submit(published)
    (version,) = server.state.versions.values()
    config = {"platforms": {"kubernetes": {"pipelineConfig": {"activeDeadlineSeconds": 60}}}}
    version.pipeline_spec = {"pipeline_spec": version.pipeline_spec, "platform_spec": config}
    server.state.finish(run.key, "FAILED", add="RUNNING")
    server.state.runs[run.key].finished_at = server.state.runs[run.key].created_at + timedelta(seconds=61)
    found = run.refresh().summary()
    assert (found["state"], found["error"]["kind"]) == ("Failed", "Deadline")
    assert found["error"]["message"] == "past the run's deadline of 60 s"


def test_the_stand_in_refuses_as_the_real_server_does(kubeflow: Connection, server: KfpServer, published: str) -> None:
    run = kubeflow.submit(published)
    server.state.finish(run.key, add="SUCCEEDED")
    with pytest.raises(InvalidSpec, match="Row not found"):
        kubeflow.api.terminate(run.key)
    with pytest.raises(InvalidSpec, match="Workflow must be Failed/Error to retry"):
        kubeflow.api.retry(run.key)


def test_a_running_step_is_as_far_as_its_record_says_and_tells_each_change_once(
    kubeflow: Connection, server: KfpServer, handled: str, store: Store
) -> None:
    run = kubeflow.submit(handled)
    server.state._show(server.state.runs[run.key], "RUNNING", {"add": "SUCCEEDED", "model": "RUNNING"})

    def told(done: int) -> list[str]:
        far = {"done": done, "total": 200, "unit": "rows", "left_s": 8, "at": float(done)}
        keep(store, run.key, "model", state="Running", progress=far)
        return [event["progress"]["done"] for event in run.backend.changes() if event["kind"] == "progress"]

    assert told(50) == [50]
    assert told(50) == []
    assert told(100) == [100]
    assert run.backend.detail("model") == "50 %, 8.0 s left, 100 of 200 rows"
    assert "50 %, 8.0 s left" in str(run)
    shown = {step["step"]: step["progress"] for step in run.summary()["steps"]}
    assert (shown["add"], shown["model"]["text"]) == (None, "50 %, 8.0 s left, 100 of 200 rows")
