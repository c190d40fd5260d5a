"""Tests of one group share a worker: their fixtures are dear, and pytest-xdist loses groups in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GROUPED = """
import os, pathlib, pytest
pytestmark = pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(8))
def test_one(number):
    pathlib.Path(f"{os.environ['PYTEST_XDIST_WORKER']}-{number}").touch()
"""


def test_tests_of_a_group_run_on_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    ran = [path.name.split("-") for path in tmp_path.glob("gw*-*")]
    assert len(ran) == 8
    assert len({worker for worker, _ in ran}) == 1
