"""What a running step is said to be at."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from shipway.artifacts import StepRecord
from shipway.local.folder import Request, RunFolder
from shipway.runs.detail import step_detail, sweep_detail, training_detail
from shipway.runs.progress import Progress, highlights


def progress(at: float, step: int, **more: Any) -> dict[str, Any]:
    return {"kind": "progress", "data": {"at": at, "step": step, "total_steps": 200, **more}}


def test_training_says_step_rate_and_time_left() -> None:
    told = training_detail([progress(100, 20), progress(110, 120, examples_per_s=735.3, val_accuracy=0.957)])
    assert told == "step 120 of 200, 735 examples/s, 8.0 s left, val accuracy 95.7 %"


def test_training_says_what_is_known() -> None:
    assert training_detail([{"kind": "started", "data": {}}]) == ""
    assert training_detail([progress(1, 5)]) == "step 5 of 200"
    assert training_detail([{"kind": "progress", "data": {"step": 7}}]) == "step 7"


def test_a_sweep_counts_its_trials() -> None:
    lines = ["noise", "trial 0 Succeeded val_accuracy=0.96 in 11.5 s (a=1)", "trial 1 Failed in 2.0 s (a=2)"]
    assert sweep_detail(lines, 4) == "2 of 4 trials, last Failed in 2.0 s"
    assert sweep_detail([], 4) == "0 of 4 trials"


def test_a_job_of_an_earlier_run_is_not_taken_for_this_one(tmp_path: Path) -> None:
    job = tmp_path / "jobs" / "old"
    job.mkdir(parents=True)
    (job / "events.jsonl").write_text(json.dumps(progress(1, 5)) + "\n")
    os.utime(job / "events.jsonl", (1, 1))
    folder, began = RunFolder(tmp_path, "run-1"), time.time()
    folder.create(Request("run-1", "p", {}, rooms={"job": "train"}))
    assert step_detail(folder, "job", began) == ""
    os.utime(job / "events.jsonl", (time.time() + 9, time.time() + 9))
    assert step_detail(folder, "job", began) == "step 5 of 200"
    folder.task_log("dataset").write_text('[KFP Executor] x\n{\n "a": 1\n}\nreading rows\n[KFP Executor] y\n')
    assert step_detail(folder, "dataset", began) == "reading rows"
    assert step_detail(folder, "gone", began) == ""


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
