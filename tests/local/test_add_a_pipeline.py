"""docs/add-a-pipeline.md, done as written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures import pages
from tests.fixtures.kfp_server import KfpServer

PAGE = pages.Page("add-a-pipeline.md")
HERE, THERE = PAGE.commands
Command = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A command line of the page, typed where its files lie as the page shows them."""
    PAGE.write(tmp_path / "pipelines" / "prep_and_report")
    rows = "".join(f"hello {i},greet\nbye {i},leave\n" for i in range(40))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    return lambda line: pages.typed(tmp_path, line, SHIPWAY_PIPELINES="pipelines")  # which the page exports


def lines(block: list[str]) -> list[str]:
    return [line for line in block if line.startswith("shipway ")]


def test_the_page_shows_the_pipeline_that_the_tests_play() -> None:
    folder = pages.ROOT / "tests" / "fixtures" / "pipelines" / "prep_and_report"
    there = [path for path in folder.rglob("*") if path.suffix in (".py", ".yaml")]
    assert {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in there} == PAGE.files


@pytest.mark.heavy
def test_what_is_typed_here_works(command: Command) -> None:
    assert len(lines(HERE)) == 4
    for line in lines(HERE):
        done = command(line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        assert "label" in done.stdout


def test_the_mistake_is_told_as_the_page_says(command: Command) -> None:
    ((line, told),) = PAGE.mistakes.items()
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
