"""docs/add-a-recipe.md, done as written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fixtures import pages

PAGE = pages.Page("add-a-recipe.md")
pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("add-a-recipe")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed."""
    root = tmp_path_factory.mktemp("recipe")
    PAGE.write(root)
    rows = "".join(f"{'a' * (i % 9 + 1)} {i},first\n{'b' * (i % 9 + 1)} {i},second\n" for i in range(60))
    (root / "rows.csv").write_text(f"text,label\n{rows}")
    return root


def typed(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    return pages.typed(place, line, PYTHONPATH=".")  # which the page exports


def test_the_mistake_is_told_as_the_page_says(place: Path) -> None:
    ((line, told),) = PAGE.mistakes.items()
    done = typed(place, line)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, told)


@pytest.mark.proves(recipe="a recipe of your own", strategy="single", executor="process")
def test_what_is_typed_works(place: Path) -> None:
    told = {}
    (commands,) = PAGE.commands
    try:
        for line in [line for line in commands if line.startswith("shipway ")]:
            done = typed(place, line)
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
            told[line.split()[1]] = done.stdout
    finally:
        typed(place, "shipway down")
    assert "first" in told["predict"]
    assert "my-bot version 1 (candidate, champion)" in told["models"]
