"""docs/add-a-component.md, done as written, in a copy of the tree."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-component.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with the page's files, and rows."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("src", "components", "pipelines"):
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "components/sample/__init__.py").touch()
    rows = "".join(f"hello {i},greet\nbye {i},leave\n" for i in range(40))
    (root / "rows.csv").write_text(f"text,label\n{rows}")
    return root


def typed(clone: Path, line: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIPWAY_")}
    places = {
        "SHIPWAY_HOME": str(clone / "home"),
        "SHIPWAY_STORE": f"file://{clone}/store",
        "HOME": str(clone),
        "PYTHONPATH": str(clone / "src"),  # in place of the installed package
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", *shlex.split(line)],
        cwd=clone, env={**kept, **places}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.heavy
def test_what_is_typed_works(clone: Path) -> None:
    told = {}
    for line in COMMANDS.splitlines():
        done = typed(clone, line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        told[line] = done.stdout
    assert "3 passed" in told["pytest -q tests/unit/components/sample"]
    assert "sample.rows" in told["shipway list"]
    assert "How many rows" in told["shipway describe sample.rows"]
    (page,) = (clone / "home").rglob("page*")
    assert "hello" in page.read_text()


def test_the_mistake_is_told_as_the_page_says(clone: Path) -> None:
    ((line, told),) = re.findall(r"^\$ (shipway .*)\n(error: .*)$", PAGE, re.MULTILINE)
    done = typed(clone, line)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()
