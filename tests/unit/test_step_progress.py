"""A step says how far it is: to its log, to the store, to whoever looks at the run's folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipway import step_progress, steps
from shipway.artifacts import StepProgress, StepRecord
from shipway.local.folder import Request, RunFolder
from shipway.runs.detail import StepsAtWork
from shipway.storage import Store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    for name, value in {"STORE": f"file://{tmp_path}/store", "HOME": str(tmp_path / "home"), "RUN": "r"}.items():
        monkeypatch.setenv(f"SHIPWAY_{name}", value)
    monkeypatch.setenv("SHIPWAY_TASK", "dataset")
    made = RunFolder(tmp_path / "home", "r")
    made.create(Request("r", "p", {}))
    return made


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOG_EVERY_S", "KEEP_EVERY_S", "FILE_EVERY_S"):
        monkeypatch.setattr(step_progress, name, 0.01)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _stored() -> StepRecord:
    return StepRecord.from_json(Store.open().get("runs/r/steps/dataset.json"), "record")


@pytest.mark.usefixtures("at_once")
def test_progress_is_told_in_the_log_in_the_store_and_in_the_runs_folder(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with steps.step("dataset"):
        _until(lambda: step_progress.tell(30, 120, "rows") or _stored().progress is not None)
        progress = _stored().progress
        assert progress is not None
        assert (progress.done, progress.total, progress.unit) == (30, 120, "rows")
        seen = dict(StepsAtWork(folder).changes([StepRecord(run="r", task="dataset", state="Running")]))
        assert seen["dataset"].text == "25 %, 30 of 120 rows"
    assert "progress: 25 %, 30 of 120 rows" in capsys.readouterr().out
    assert _stored().progress is None  # it is done


def test_a_step_of_a_moment_says_nothing(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with steps.step("dataset"):
        for done in range(100):
            step_progress.tell(done, 100, "rows")
    assert "progress" not in capsys.readouterr().out


@pytest.mark.usefixtures("at_once")
def test_a_failed_step_keeps_how_far_it_was(folder: RunFolder) -> None:
    def fail() -> None:
        with steps.step("dataset"):
            step_progress.tell(30, 120, "rows")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    progress = _stored().progress
    assert progress is not None
    assert progress.text == "25 %, 30 of 120 rows"


@pytest.mark.usefixtures("at_once")
def test_a_part_of_a_step_is_told_of_by_its_title(folder: RunFolder) -> None:
    with steps.step("dataset", {"evaluate": "Evaluate"}), steps.step("evaluate"):
        step_progress.tell(1, 4, "rows")
    told = StepProgress.model_validate(json.loads(folder.progress_file("dataset").read_text()))
    assert told.text == "25 %, 1 of 4 rows, Evaluate"


def test_progress_without_a_step_is_nobodys(folder: RunFolder) -> None:
    step_progress.tell(1, 2, "rows")
    assert not folder.progress_file("dataset").exists()


def test_the_next_host_of_a_run_begins_without_the_last_ones_progress(folder: RunFolder) -> None:
    folder.progress_file("dataset").write_text(StepProgress(done=1).model_dump_json())
    folder.create(Request("r", "p", {}))
    running: list[Any] = [StepRecord(run="r", task="dataset", state="Running")]
    assert dict(StepsAtWork(folder).changes(running)) == {}
