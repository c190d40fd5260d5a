"""`shipway tensorboard`: files of a run on this machine, and the server that shows them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import RunRecord, StepRecord
from shipway.errors import NotFound
from shipway.runs.boards import Boards
from shipway.storage import Store, open_folder
from shipway.training import events
from tests.fixtures.typed import run as typed

RUN = "20260101-000000-abcdef"


class AnyRun:
    """What `Boards` asks of a run."""

    def __init__(self, steps: list[StepRecord], *, has_ended: bool = True) -> None:
        self.key, self.is_here, self.has_ended = RUN, True, has_ended
        self.record, self.backend = RunRecord(run=RUN, pipeline="p", state="Succeeded", steps=steps), self

    def open_store(self) -> None:
        return


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))


def _step(uri: str, **fields: Any) -> StepRecord:
    return StepRecord(run=RUN, task="job", state="Succeeded", outputs={"tensorboard": uri}, **fields)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_runs_files_are_fetched_and_what_grew_is_appended(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/store/jobs/j/tensorboard"
    open_folder(uri).put(events.NAME, events.head() + events.scalars(1, {"loss": 1.0}))
    part = StepRecord(run=RUN, task="release.sweep", state="Succeeded", outputs={"tensorboard": uri})
    boards: Any = Boards(AnyRun([_step(uri, parts=[part])]), tmp_path / "here")  # type: ignore[arg-type]
    assert boards.fetch() == 2
    file = tmp_path / "here" / "job" / events.NAME
    assert events.steps_in(file.read_bytes()) == [1]
    assert (tmp_path / "here" / "release.sweep" / events.NAME).exists()
    before = file.stat().st_ino
    open_folder(uri).put(events.NAME, file.read_bytes() + events.scalars(2, {"loss": 0.5}))
    boards.fetch()
    assert (events.steps_in(file.read_bytes()), file.stat().st_ino) == ([1, 2], before)
    open_folder(uri).put(events.NAME, events.head())  # another attempt began anew
    boards.fetch()
    assert events.steps_in(file.read_bytes()) == []


def test_a_step_that_goes_on_is_known_by_the_record_that_it_keeps_itself(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/store/jobs/j/tensorboard"
    open_folder(uri).put(events.NAME, events.head())
    Store.open().put(f"runs/{RUN}/steps/job.json", _step(uri).to_json().encode())
    boards = Boards(AnyRun([], has_ended=False), tmp_path / "here")  # type: ignore[arg-type]
    assert boards.places() == {"job": uri}
    assert boards.fetch() == 1


def test_a_run_without_a_training_has_no_files_and_says_so(tmp_path: Path) -> None:
    step = StepRecord(run=RUN, task="dataset", state="Succeeded")
    with pytest.raises(NotFound, match=f"run {RUN} has no TensorBoard files: none of its steps trained or searched"):
        Boards(AnyRun([step]), tmp_path / "here")  # type: ignore[arg-type]


def test_no_name_in_the_store_leads_out_of_the_folder(tmp_path: Path) -> None:
    from shipway.runs.boards import _below

    for key in ("../x", "a/../../x", "/etc/x", ""):
        with pytest.raises(NotFound, match="is no name of a file"):
            _below(tmp_path, key)


def test_an_unknown_run_is_one_line(tmp_path: Path) -> None:
    done = typed(["tensorboard", "never-there"], cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def finished(tmp_path: Path) -> str:
    """A run that has ended, its training's files in the store."""
    uri = f"file://{tmp_path}/store/jobs/j/tensorboard"
    open_folder(uri).put(events.NAME, events.head() + events.scalars(1, {"loss": 1.0}))
    folder = tmp_path / "home" / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"run": RUN, "pipeline": "p", "params": {}}))
    record = RunRecord(run=RUN, pipeline="p", state="Succeeded", steps=[_step(uri)])
    (folder / "events.jsonl").write_text(json.dumps({"at": 1, "kind": "run", "record": record.model_dump(mode="json")}))
    with (folder / "events.jsonl").open("a") as file:
        file.write("\n")
    return RUN


def test_without_the_package_one_line_says_what_to_install(finished: str, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    hide = tmp_path / "nothing" / "sitecustomize.py"
    hide.write_text(
        "import importlib.util as u\nf = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'tensorboard' else f(name, *a)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "shipway", "tensorboard", finished],
        env={**os.environ, "PYTHONPATH": str(hide.parent)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: TensorBoard: not installed here; pip install 'shipway[tensorboard]'\n"


@pytest.fixture
def server(finished: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "shipway", "tensorboard", finished],
        env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.heavy
def test_tensorboard_answers_on_loopback_and_ends_with_the_command(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("TensorBoard: http://127.0.0.1:"), line
    address = line.split()[-1].rstrip("/")

    def runs() -> list[str]:
        with urllib.request.urlopen(f"{address}/data/runs", timeout=30) as answer:
            told: list[str] = json.load(answer)
        return told

    _until(lambda: runs() == ["job"])
    server.send_signal(signal.SIGINT)
    assert server.wait(60) == 130
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address}/data/runs", timeout=5)
