"""What a running step is said to be at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import StepProgress, StepRecord
from shipway.local.folder import Request, RunFolder
from shipway.runs.detail import StepsAtWork
from shipway.runs.progress import Progress, highlights


def test_a_running_step_says_how_far_it_is_or_what_it_printed_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run-1")
    folder.create(Request("run-1", "p", {}))
    at_work, step = StepsAtWork(folder), StepRecord(run="run-1", task="dataset", state="Running")
    assert at_work.text(step) == ""
    folder.task_log("dataset").write_text('[KFP Executor] x\n{\n "a": 1\n}\nreading rows\n[KFP Executor] y\n')
    assert at_work.text(step) == "reading rows"
    told = StepProgress(done=5, total=20, unit="rows", left_s=8)
    folder.progress_file("dataset").write_text(told.model_dump_json())
    assert at_work.text(step) == "25 %, 8.0 s left, 5 of 20 rows"
    assert at_work.completed(step).progress == told
    assert list(at_work.changes([step])) == []  # nothing is new


def test_half_a_file_of_progress_is_no_progress(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run-1")
    folder.create(Request("run-1", "p", {}))
    folder.progress_file("dataset").write_text('{"done": ')
    assert StepsAtWork(folder).text(StepRecord(run="run-1", task="dataset", state="Running")) == ""


def test_where_nothing_is_drawn_anew_a_line_is_printed_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipway.runs.progress.LINE_S", 0.0)
    with Progress({"dataset": "Make a dataset"}) as shown:
        step = StepRecord(run="r", task="dataset", title="Make a dataset", state="Running")
        shown({"kind": "step", "step": step.model_dump(mode="json")})
        shown.began["dataset"] -= 60
        progress = StepProgress(done=5, total=20, unit="rows", left_s=8).model_dump(mode="json")
        shown({"kind": "progress", "step": "dataset", "progress": progress})
        shown({"kind": "progress", "step": "dataset", "progress": progress})  # within three seconds
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Make a dataset ...", "Make a dataset  25 %, 8.0 s left, 5 of 20 rows"]


def test_the_parts_of_a_step_are_followed_in_its_place() -> None:
    shown = Progress({"job": "Train", "release": "Release", "notify": "Tell"})
    parts = [
        StepRecord(run="r", task=f"release.{role}", title=role.title(), state="Running")
        for role in ("gate", "register")
    ]
    for step in (
        StepRecord(run="r", task="job", state="Running"),
        StepRecord(run="r", task="release", state="Running"),
        StepRecord(run="r", task="release", state="Running", parts=parts),
    ):
        shown({"kind": "step", "step": step.model_dump(mode="json")})
    assert shown.titles == {
        "job": "Train", "release.gate": "Gate", "release.register": "Register", "notify": "Tell",
    }  # fmt: skip


def test_the_iterations_of_a_task_are_followed_in_its_place_and_so_are_their_parts() -> None:
    shown = Progress({"job": "Train", "release": "Release", "notify": "Tell"})
    for iteration in ("1", "0"):
        part = StepRecord(run="r", task="release.gate", iteration=iteration, title="Judge", state="Running")
        for step in (
            StepRecord(run="r", task="job", iteration=iteration, title="Train", state="Running"),
            StepRecord(run="r", task="release", iteration=iteration, title="Release", state="Running"),
            StepRecord(run="r", task="release", iteration=iteration, title="Release", state="Running", parts=[part]),
        ):
            shown({"kind": "step", "step": step.model_dump(mode="json")})
    assert shown.titles == {
        "job.1": "Train, iteration 1", "job.0": "Train, iteration 0", "release.gate.1": "Judge, iteration 1",
        "release.gate.0": "Judge, iteration 0", "notify": "Tell",
    }  # fmt: skip
    assert list(shown.titles)[-1] == "notify"


def test_a_finished_step_says_what_it_measured_first_and_shares_as_percentages() -> None:
    def said(**outputs: Any) -> str:
        return highlights(StepRecord(run="r", task="t", state="Succeeded", outputs=outputs))

    shown = [{"name": "mean_error", "title": "Mean error", "is_share": False}]
    assert (
        said(rows=19, split="test", metrics={"mean_error": 2.5}, shown=shown) == "mean error 2.5, rows 19, split test"
    )
    assert said(accuracy=0.934, loss=0.2) == "accuracy 93.4 %, loss 0.2"
    assert said(best_value=0.972, objective="val_accuracy") == "best value 97.2 %"
    assert said(best_value=0.4, objective="val_loss") == "best value 0.4"
