"""Processes that share the work: results, errors, and an end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.components.prep.pool import Pool
from shipway.errors import InvalidData, ShipwayError

JOBS = """
import os, signal, sys, time
from shipway.errors import InvalidData

def square(number, mark, owner):
    print("a library that prints")
    meet(mark, owner)
    return number * number, os.getpid(), owner

def meet(mark, owner):
    # The first process waits until the other has begun.
    if owner != "p0":
        open(mark, "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists(mark) and time.monotonic() < deadline:
        time.sleep(0.01)

def refuse(number, owner):
    if number == 3:
        raise InvalidData("row 3 is bad")
    return number

def break_down(number, owner):
    return 1 // number

def die(mark, owner):
    meet(mark, owner)
    if owner != "p0":
        os.kill(os.getpid(), signal.SIGKILL)

def refuse_elsewhere(mark, owner):
    meet(mark, owner)
    if owner != "p0":
        raise InvalidData("refused elsewhere", field="data", fix="mend it")

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


def test_results_come_from_all_processes_and_errors_by_their_class(jobs: Any, tmp_path: Path) -> None:
    mark = str(tmp_path / "begun")
    with Pool(2) as pool:
        results = list(pool.run(jobs.square, ((number, mark) for number in range(20))))
        assert sorted(square for square, _, _ in results) == [number * number for number in range(20)]
        assert {owner for _, _, owner in results} == {"p0", "p1"}
        assert {owner for _, pid, owner in results if pid == os.getpid()} == {"p0"}
        with pytest.raises(InvalidData, match="row 3 is bad"):
            list(pool.run(jobs.refuse, ((number,) for number in range(9))))
    with Pool(2) as pool, pytest.raises(InvalidData, match="data: refused elsewhere; mend it") as refused:
        list(pool.run(jobs.refuse_elsewhere, [(str(tmp_path / "refused"),)] * 2))
    assert (refused.value.details.field, refused.value.details.fix) == ("data", "mend it"), "as of the first process"
    with Pool(1) as pool, pytest.raises(ZeroDivisionError):
        list(pool.run(jobs.break_down, [(0,)]))
    with Pool(2) as pool, pytest.raises(ShipwayError, match="killed, perhaps for its memory"):
        list(pool.run(jobs.die, [(str(tmp_path / "killed"),)] * 2))


def test_a_mistake_that_is_found_while_tasks_are_made_ends_the_run(jobs: Any, tmp_path: Path) -> None:
    def tasks() -> Iterator[tuple[int, str]]:
        for number in range(4):
            yield number, str(tmp_path / "begun")
        raise InvalidData("the file was cut")

    with Pool(2) as pool, pytest.raises(InvalidData, match="the file was cut"):
        list(pool.run(jobs.square, tasks()))


def test_workers_end_with_a_parent_that_is_killed(jobs: Any, tmp_path: Path) -> None:
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
    workers = {int(mark.read_text()) for mark in marks} - {parent.pid}
    assert len(workers) == 1
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
