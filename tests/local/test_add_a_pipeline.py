"""docs/add-a-pipeline.md, done as written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.kfp_server import KfpServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-pipeline.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
HERE, THERE = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
Command = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A command line of the page, typed where its files lie as the page shows them."""
    folder = tmp_path / "pipelines" / "prep_and_report"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    rows = "".join(f"hello {i},greet\nbye {i},leave\n" for i in range(40))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIPWAY_")}
    places = {
        "SHIPWAY_HOME": str(tmp_path / "home"),
        "SHIPWAY_STORE": f"file://{tmp_path}/store",
        "HOME": str(tmp_path),
    }
    environment = {**kept, **places, "SHIPWAY_PIPELINES": "pipelines"}  # which the page exports

    def typed(line: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(line)
        assert words[0] == "shipway"
        return subprocess.run(
            [sys.executable, "-P", "-m", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return typed


def lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if line.startswith("shipway ")]


def test_the_page_shows_the_pipeline_that_the_tests_play() -> None:
    folder = ROOT / "tests" / "fixtures" / "pipelines" / "prep_and_report"
    there = [path for path in folder.rglob("*") if path.suffix in (".py", ".yaml")]
    assert {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in there} == FILES


@pytest.mark.heavy
def test_what_is_typed_here_works(command: Command) -> None:
    assert len(lines(HERE)) == 4
    for line in lines(HERE):
        done = command(line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        assert "label" in done.stdout


def test_the_mistake_is_told_as_the_page_says(command: Command) -> None:
    ((line, told),) = re.findall(r"^\$ (shipway .*)\n(error: .*)$", PAGE, re.MULTILINE)
    done = command(line)
    assert (done.returncode, done.stderr) == (2, f"{told}\n")


def test_what_is_typed_for_kubeflow_works(command: Command) -> None:
    with KfpServer() as server:
        for line in lines(THERE):
            done = command(
                f"{line} --kfp {server.url}"
                if "--param" not in line
                else line.replace(" --param", f" --kfp {server.url} --param")
            )
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        assert [version.name for version in server.state.versions.values()] == ["prep-and-report-v1-0-0"]
