"""Processes that share the work: results, errors, and an end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shipway.components.prep.pool import Pool
from shipway.errors import InvalidData, ShipwayError

JOBS = """
import os, signal, sys, time
from shipway.errors import InvalidData

def square(number, owner):
    print("a library that prints")
    return number * number, os.getpid(), owner

def refuse(number, owner):
    if number == 3:
        raise InvalidData("row 3 is bad")
    return number

def break_down(number, owner):
    return 1 // number

def die(owner):
    os.kill(os.getpid(), signal.SIGKILL)

def wait(path, owner):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A module that the workers can import."""
    (tmp_path / "prep_pool_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    sys.modules.pop("prep_pool_jobs", None)
    return importlib.import_module("prep_pool_jobs")


def test_results_come_from_several_processes_and_errors_by_their_class(jobs: object) -> None:
    with Pool(2) as pool:
        results = list(pool.run(jobs.square, ((number,) for number in range(20))))  # type: ignore[attr-defined]
        assert sorted(square for square, _, _ in results) == [number * number for number in range(20)]
        assert os.getpid() not in {pid for _, pid, _ in results}
        with pytest.raises(InvalidData, match="row 3 is bad"):
            list(pool.run(jobs.refuse, ((number,) for number in range(9))))  # type: ignore[attr-defined]
    with Pool(2) as pool, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(pool.run(jobs.break_down, [(0,)]))  # type: ignore[attr-defined]
    with Pool(2) as pool, pytest.raises(ShipwayError, match="killed, perhaps for its memory"):
        list(pool.run(jobs.die, [()]))  # type: ignore[attr-defined]


def test_workers_end_with_a_parent_that_is_killed(jobs: object, tmp_path: Path) -> None:
    code = "import sys; import prep_pool_jobs as j; from shipway.components.prep.pool import Pool\n"
    code += "with Pool(2) as pool: list(pool.run(j.wait, [(sys.argv[1],), (sys.argv[2],)]))"
    marks = [tmp_path / "a", tmp_path / "b"]
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, marks)], env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    deadline = time.monotonic() + 60
    while not all(mark.exists() and mark.read_text() for mark in marks):
        assert time.monotonic() < deadline
        assert parent.poll() is None
        time.sleep(0.02)
    workers = [int(mark.read_text()) for mark in marks]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
