"""What a run, its reports, its endpoint and its model look like, from the records of a finished run."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.context import Context
from shipway.errors import NotFound
from shipway.remote.endpoints import address
from shipway.runs import Run
from shipway.runs.endpoint import Endpoint
from shipway.runs.here import Here
from shipway.runs.progress import Progress
from shipway.runs.views import shown
from shipway.storage import Store
from tests.unit.cli.conftest import finished
from tests.unit.remote.conftest import Typed


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    shown = [{"name": "accuracy", "title": "Accuracy", "is_share": True}]
    told = {"metrics": {"accuracy": 0.934}, "split": "test", "shown": shown}
    steps = finished().steps
    for step in steps:
        step.outputs |= told if step.role == "evaluate" else {}
    return finished(steps=steps, started_by="ada@box", idempotency_key="e-1")


def run_of(record: RunRecord) -> Run:
    return Run(Here(record.run, Context.current(), record=record))


def test_a_run_prints_as_what_it_is(record: RunRecord) -> None:
    run = run_of(record)
    assert repr(run) == "Run('run-1', 'train_and_deploy bot', Succeeded)"
    lines = str(run).splitlines()
    assert lines[0] == "train_and_deploy bot: Succeeded in 1 min 1 s"
    assert [line.split()[:2] for line in lines[1:4]] == [["✓", "train-and-deploy"], ["✓", "dataset"], ["✓", "search"]]
    assert "from cache" in lines[2]
    assert lines[-6:] == [
        "run: run-1 on this machine, started by ada@box", "measured: test accuracy 93.4 %", "decision: blessed",
        "model: bot version 3", "endpoint: http://127.0.0.1:8081",
        "next: run.endpoint.predict([...]), run.report('Evaluation')",
    ]  # fmt: skip
    page = run._repr_html_()
    assert all(line.partition(": ")[2].replace("'", "&#x27;") in page for line in lines[-6:])


def test_who_interrupts_the_waiting_is_told_that_the_run_goes_on(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Here) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Here, "changes", interrupted)
    run = run_of(record)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert "Run run-1 goes on: shipway.load_run('run-1').wait(), or .cancel() ends it." in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        run.wait(lambda event: None)
    assert not capsys.readouterr().err


def test_a_notebook_shows_no_markup_of_a_strangers_and_no_secret(record: RunRecord) -> None:
    error = StepError(kind="InvalidData", message="row 1: <script>alert(1)</script>\x1b[31m")
    steps = [StepRecord(run="run-1", task="dataset", title="<b>x", state="Failed", error=error)]
    run = run_of(record.model_copy(update={"state": "Failed", "steps": steps, "error": error, "name": "<i>"}))
    page = run._repr_html_()
    assert "<script>" not in page
    assert "<b>x" not in page
    assert "<i>" not in page
    assert "\x1b" not in str(run)
    assert "next: run.logs(), run.retry()" in str(run)


def test_what_did_not_come_about_is_none_and_a_missing_report_names_those_there_are(record: RunRecord) -> None:
    bare = run_of(RunRecord(run="run-2", pipeline="chain", state="Succeeded"))
    assert (bare.model, bare.endpoint, bare.evaluation, bare.decision, bare.sweep, bare.reports) == (*[None] * 5, {})
    with pytest.raises(NotFound, match=r"no report 'Decision' in run run-1; there are Evaluation"):
        run_of(record).report("Decision")
    with pytest.raises(NotFound, match="logs: run run-1 has no step 'Trian'; there are"):
        run_of(record).logs("Trian")


def test_a_report_is_text_that_a_notebook_frames(record: RunRecord, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<p title="a">hi</p>')
    steps = [StepRecord(run="run-1", task="evaluate", state="Succeeded", reports={"Evaluation": f"file://{page}"})]
    report = run_of(record.model_copy(update={"steps": steps})).report()
    assert report == '<p title="a">hi</p>'
    assert report._repr_html_().startswith('<iframe sandbox="allow-scripts"')
    assert "&quot;a&quot;" in report._repr_html_()


def test_endpoints_say_how_they_are_reached(record: RunRecord) -> None:
    endpoint = run_of(record).endpoint
    assert endpoint == Endpoint("bot", "http://127.0.0.1:8081/v1/models/bot:predict")
    assert endpoint.url == "http://127.0.0.1:8081"
    there = Endpoint("bot", address("bot", "ada"), 3)
    assert str(there).startswith("bot version 3 at http://bot-predictor.ada.svc in the cluster (kubectl -n ada port-fo")
    assert endpoint.status.startswith("not ready: ")


class Cell:
    """What IPython's display gives for an output that is drawn again."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def update(self, html: str) -> None:
        self.drawn.append(html)


def test_a_notebook_is_drawn_again_while_the_run_goes_on(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's two names are played: the whole way through a kernel is test_quickstart's."""
    cell = Cell()
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    display = types.SimpleNamespace(HTML=str, display=lambda html, display_id: cell.update(html) or cell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr("shipway.runs.views.REDRAWN_S", 0.0)
    with shown(run_of(record)) as tell:
        tell({"kind": "state", "state": "Running"})
    assert [html.partition("<table>")[0] for html in cell.drawn] == [
        *["<b>train_and_deploy bot</b>: Succeeded in 1 min 1 s"] * 2, "<p>Run run-1: Succeeded</p>"
    ]  # fmt: skip


def test_progress_takes_its_titles_from_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    step: dict[str, Any] = {"run": "r", "task": "add", "state": "Running"}
    with Progress({}) as progress:
        progress({"kind": "tasks", "titles": {"add": "Add one"}})
        progress({"kind": "step", "step": json.loads(StepRecord.model_validate(step).to_json())})
    assert capsys.readouterr().err == "Add one ...\n"


def test_runs_of_this_machine_are_listed_with_scores_decision_and_who_started_them(
    record: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    typed, store = Typed(capsys), Store.open()
    store.put("runs/run-1/run.json", record.to_json().encode())
    other = RunRecord(run="run-0", pipeline="chain", state="Failed", started_at="2025-12-31T00:00:00+00:00")
    store.put("runs/run-0/run.json", other.to_json().encode())
    store.put("runs/torn/run.json", b"{")
    first, second = typed.document("runs", "list", "--local")
    assert first == {
        "run": "run-1", "pipeline": "train_and_deploy", "name": "train_and_deploy bot", "state": "Succeeded",
        "started_at": "2026-01-01T00:00:00+00:00", "seconds": 61.0, "started_by": "ada@box", "idempotency_key": "e-1",
        "metrics": {"test_accuracy": 0.934}, "decision": "blessed",
    }  # fmt: skip
    assert (second["run"], second["metrics"], second["decision"], second["started_by"]) == ("run-0", {}, "", "")
    assert "ada@box" in typed("runs", "list", "--local")
    assert "test accuracy 93.4 %" in typed.out
    assert "blessed" in typed.out
    assert typed.document("runs", "show", "e-1", "--local")["run"] == "run-1"
    assert "ada@box, key e-1" in typed("runs", "show", "run-1", "--local")
