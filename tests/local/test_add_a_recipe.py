"""docs/add-a-recipe.md, done as written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-recipe.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
(COMMANDS,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("add-a-recipe")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed."""
    root = tmp_path_factory.mktemp("recipe")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    rows = "".join(f"{'a' * (i % 9 + 1)} {i},first\n{'b' * (i % 9 + 1)} {i},second\n" for i in range(60))
    (root / "rows.csv").write_text(f"text,label\n{rows}")
    return root


def typed(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIPWAY_")}
    places = {
        "SHIPWAY_HOME": str(place / "home"),
        "SHIPWAY_STORE": f"file://{place}/store",
        "HOME": str(place),
        "PYTHONPATH": ".",  # which the page exports
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", *shlex.split(line)],
        cwd=place, env={**kept, **places}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_mistake_is_told_as_the_page_says(place: Path) -> None:
    ((line, told),) = re.findall(r"^\$ (shipway .*)\n(error: .*)$", PAGE, re.MULTILINE)
    done = typed(place, line)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, told)


@pytest.mark.proves(recipe="a recipe of your own", strategy="single", executor="process")
def test_what_is_typed_works(place: Path) -> None:
    told = {}
    try:
        for line in [line for line in COMMANDS.splitlines() if line.startswith("shipway ")]:
            done = typed(place, line)
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
            told[line.split()[1]] = done.stdout
    finally:
        typed(place, "shipway down")
    assert "first" in told["predict"]
    assert "my-bot version 1 (candidate, champion)" in told["models"]
