"""Tests of one group share a worker: their fixtures are dear, and pytest-xdist loses groups in silence."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GROUPED = """
import os, pathlib, pytest
pytestmark = pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(8))
def test_one(number):
    pathlib.Path(f"{os.environ['PYTEST_XDIST_WORKER']}-{number}").touch()
"""
SHARING = """
import os, pathlib, pytest
@pytest.fixture(scope="module")
def dear():
    pathlib.Path(f"made-by-{os.environ['PYTEST_XDIST_WORKER']}").touch()
@pytest.mark.parametrize("number", range(8))
def test_one(number, dear):
    pass
"""


def run_on_two_workers(folder: Path, *options: str) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    clean["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_tests_of_a_group_run_on_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    run_on_two_workers(tmp_path)
    ran = [path.name.split("-") for path in tmp_path.glob("gw*-*")]
    assert len(ran) == 8
    assert len({worker for worker, _ in ran}) == 1


def test_what_the_tests_of_a_module_share_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "test_sharing.py").write_text(SHARING)
    run_on_two_workers(tmp_path, "-p", "tests.fixtures.one_worker")
    assert len(list(tmp_path.glob("made-by-*"))) == 1


def test_no_test_module_imports_tensorflow_where_all_workers_would() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tops = {name.partition(".")[0] for name in names}
            assert not tops & {"tensorflow", "tf_keras"}, f"{path.relative_to(ROOT)}:{node.lineno}"
