"""docs/add-a-component.md, done as written, in a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures import pages

PAGE = pages.Page("add-a-component.md")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with the page's files, and rows."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("src", "components", "pipelines"):
        shutil.copytree(pages.ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(pages.ROOT / "pyproject.toml", root)
    PAGE.write(root)
    (root / "components/sample/__init__.py").touch()
    rows = "".join(f"hello {i},greet\nbye {i},leave\n" for i in range(40))
    (root / "rows.csv").write_text(f"text,label\n{rows}")
    return root


def typed(clone: Path, line: str) -> subprocess.CompletedProcess[str]:
    return pages.typed(clone, line, PYTHONPATH=str(clone / "src"))  # in place of the installed package


@pytest.mark.heavy
def test_what_is_typed_works(clone: Path) -> None:
    told = {}
    (commands,) = PAGE.commands
    for line in commands:
        done = typed(clone, line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        told[line] = done.stdout
    assert "3 passed" in told["pytest -q tests/unit/components/sample"]
    assert "sample.rows" in told["shipway list"]
    assert "How many rows" in told["shipway describe sample.rows"]
    (page,) = (clone / "home").rglob("page*")
    assert "hello" in page.read_text()


def test_the_mistake_is_told_as_the_page_says(clone: Path) -> None:
    ((line, told),) = PAGE.mistakes.items()
    done = typed(clone, line)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()
