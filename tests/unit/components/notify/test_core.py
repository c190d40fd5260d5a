"""A run as its steps tell it, its page, and the webhook: a real HTTP server answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import RunRecord, StepRecord
from shipway.components.notify import core, launch
from shipway.errors import InvalidSpec
from shipway.patience import Patience
from shipway.storage import Store
from shipway.summary import build_summary

NOW = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


def record(task: str, state: str, at: int = 0, **more: Any) -> str:
    began = (NOW - timedelta(seconds=60 - at)).isoformat(timespec="seconds")
    fields = {"run": "run-1", "role": task, "task": task, "state": state, "started_at": began, **more}
    return StepRecord.model_validate(fields).to_json()


def summed(*records: str, told: str = "SUCCEEDED", **more: Any) -> RunRecord:
    return core.summary_record(records, run="run-1", told=told, pipeline="p", name="bot", now=NOW, **more)


def test_a_run_whose_steps_all_ended_well_succeeded() -> None:
    found = summed(record("plan", "Succeeded"), record("dataset", "Cached", 5))
    assert found.state == "Succeeded"
    assert found.seconds == 60
    assert [step.task for step in found.steps] == ["plan", "dataset"]


def test_the_first_failed_step_says_why_whatever_kubeflow_says() -> None:
    error = {"kind": "InvalidData", "message": "dataset: empty"}
    found = summed(record("plan", "Succeeded"), record("dataset", "Failed", 5, error=error), told="SUCCEEDED")
    assert found.state == "Failed"
    assert found.error is not None
    assert found.error.message == "dataset: empty"


def test_a_step_that_never_said_how_it_ended_was_lost() -> None:
    found = summed(record("plan", "Succeeded"), record("job", "Running", 5), told="RUNNING")
    assert found.state == "Failed"
    assert found.error is not None
    assert "ended without a record of its own end" in found.error.message


CANCELLED = {"kind": "Cancelled", "message": "step train was stopped by SIGTERM"}


def test_a_cancel_is_told_from_a_crash_by_the_workflow() -> None:
    steps = (record("plan", "Succeeded"), record("job", "Running", 5))
    cancelled = summed(*steps, told="RUNNING", stop="cancelled")
    assert (cancelled.state, cancelled.steps[1].state) == ("Cancelled", "Cancelled")
    assert cancelled.error is not None
    assert cancelled.error.message == "the run was cancelled"
    late = summed(*steps, told="RUNNING", stop="deadline")
    assert late.error is not None
    assert (late.state, late.error.message) == ("Failed", "the run's deadline had passed")


def test_a_workflow_that_may_not_be_read_lets_us_say_less_rather_than_wrong() -> None:
    found = summed(record("plan", "Succeeded"), record("job", "Running", 5), told="RUNNING", stop="unknown")
    assert found.error is not None
    assert "or the run was cancelled" in found.error.message
    stopped = summed(record("plan", "Succeeded"), record("job", "Cancelled", 5, error=CANCELLED), stop="unknown")
    assert stopped.error is not None
    assert (stopped.state, "which of them this account may not see" in stopped.error.message) == ("Failed", True)


def test_a_step_past_its_own_time_limit_is_no_cancelled_run() -> None:
    steps = (record("plan", "Succeeded"), record("job", "Cancelled", 5, error=CANCELLED))
    found = summed(*steps, told="RUNNING", stop="none")
    assert found.state == "Failed"
    assert found.error is not None
    assert "past its time limit" in found.error.message
    assert summed(*steps, told="FAILED").state == "Cancelled", "on one's own machine only a person stops a step"


def test_the_workflow_says_why_a_pod_is_gone_and_that_all_went_well_though_kubeflow_says_running() -> None:
    pod = {"name": "w.root.exit-handler-1.job.executor(0)", "type": "Pod", "phase": "Failed",
           "message": "OOMKilled (exit code 137)"}  # fmt: skip
    found = summed(record("job", "Running", 5), told="FAILED", stop="none", workflow={"status": {"nodes": {"1": pod}}})
    assert found.error is not None
    assert found.error.message.endswith("OOMKilled (exit code 137)")
    dag = {"name": "w.root.exit-handler-1", "phase": "Succeeded"}
    nodes = {"1": dag, "2": {"name": "w.root.exit-handler-1.onExit", "phase": "Running"}}
    well = summed(record("plan", "Succeeded"), told="RUNNING", stop="none", workflow={"status": {"nodes": nodes}})
    assert well.state == "Succeeded"


def test_a_failure_that_nobody_recorded_is_still_a_failure() -> None:
    found = summed(told="FAILED")
    assert found.state == "Failed"
    assert found.error is not None
    assert "Kubeflow says FAILED" in found.error.message


def test_what_an_earlier_attempt_left_is_not_of_this_run() -> None:
    found = summed(record("kserve", "Failed", 0), record("plan", "Succeeded", 30), record("gate", "Succeeded", 40))
    assert [step.task for step in found.steps] == ["plan", "gate"]
    assert found.state == "Succeeded"


def test_a_record_that_cannot_be_read_hides_no_other() -> None:
    assert [step.task for step in summed("{broken", record("plan", "Succeeded")).steps] == ["plan"]


def test_the_page_escapes_what_steps_say() -> None:
    error = {"kind": "JobFailed", "message": "<script>alert(1)</script>", "replica": "w", "last_lines": ["<b>x</b>"]}
    page = core.summary_report(build_summary(summed(record("job", "Failed", error=error)))).render()
    assert "<script>alert" not in page
    assert "<b>x</b>" not in page
    assert "&lt;script&gt;alert(1)" in page


class Hook:
    """A webhook that answers as told, and what it got."""

    def __init__(self, server: HTTPServer, got: list[dict[str, Any]]) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}/services/T0/secret-path?token=secret"
        self.got = got


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hook]]:
    monkeypatch.setattr(core, "PATIENCE", Patience(attempts=3, first_s=0.01))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers: list[HTTPServer] = []

    def make(*answers: int, location: str = "") -> Hook:
        got: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(answers[min(len(got), len(answers)) - 1])
                if location:
                    self.send_header("Location", location)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return Hook(server, got)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answers", "status", "tries"), [([200], 200, 1), ([503, 204], 204, 2), ([500], 500, 3), ([404], 404, 1)]
)
def test_a_webhook_is_tried_again_only_where_that_may_help(
    hook: Callable[..., Hook], answers: list[int], status: int, tries: int
) -> None:
    listening = hook(*answers)
    assert core.post(listening.url, {"state": "Succeeded"}) == status
    assert listening.got == [{"state": "Succeeded"}] * tries


def test_a_redirect_is_not_followed(hook: Callable[..., Hook]) -> None:
    elsewhere = hook(200)
    assert core.post(hook(302, location=elsewhere.url).url, {}) == 302
    assert elsewhere.got == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "http://", "hooks.example.com/x"])
def test_only_http_is_called(url: str) -> None:
    with pytest.raises(InvalidSpec, match="expected http:// or https://"):
        core.post(url, {})


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("SHIPWAY_RUN", "run-1")
    monkeypatch.delenv("SHIPWAY_TASK", raising=False)
    store = Store.open()
    store.put("runs/run-1/steps/dataset.json", record("dataset", "Succeeded", outputs={"rows": 5}).encode())
    return store


def told(run: Store) -> str:
    """Everything that was written."""
    return "".join(run.get(info.key).decode() for info in run.list("runs/run-1"))


@pytest.mark.parametrize("answer", [200, 500])
def test_the_handler_leaves_a_summary_and_no_secret(
    run: Store, hook: Callable[..., Hook], tmp_path: Path, answer: int
) -> None:
    listening = hook(answer)
    launch.notify("SUCCEEDED", "p", "bot", listening.url, str(tmp_path / "report.html"))
    assert RunRecord.from_json(run.get("runs/run-1/run.json")).state == "Succeeded"
    assert json.loads(run.get("runs/run-1/reports/summary.json"))["steps"][0]["task"] == "dataset"
    assert run.get("runs/run-1/reports/summary.html").decode() == (tmp_path / "report.html").read_text()
    own = StepRecord.from_json(run.get("runs/run-1/steps/notify.json"))
    assert own.state == "Succeeded"
    assert str(own.outputs["webhook"]).endswith(f"answered {answer}")
    assert "secret" not in told(run)
    assert listening.got[0]["run"] == "run-1"


def test_a_runs_end_is_told_to_the_address_of_the_environment(
    run: Store, hook: Callable[..., Hook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening = hook(200)
    monkeypatch.setenv("SHIPWAY_WEBHOOK", listening.url)
    launch.notify("SUCCEEDED", "p", "bot", "", str(tmp_path / "report.html"))
    assert listening.got[0]["run"] == "run-1"
    assert "secret" not in told(run)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/secret", "gopher://secret"])
def test_a_webhook_that_cannot_be_called_fails_no_run(
    run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(core, "PATIENCE", Patience(attempts=3, first_s=0.01))
    launch.notify("SUCCEEDED", "p", "bot", url, str(tmp_path / "report.html"))
    assert StepRecord.from_json(run.get("runs/run-1/steps/notify.json")).state == "Succeeded"
    assert "secret" not in told(run)


def test_a_store_that_does_not_answer_fails_no_run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/file/store")
    (tmp_path / "file").write_text("in the way")
    launch.notify("FAILED", "p", "bot", "", str(tmp_path / "report.html"))
    assert "Failed" in (tmp_path / "report.html").read_text()
