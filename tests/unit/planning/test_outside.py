"""A pipeline whose folder lies outside the package does by its name all that a shipped one does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import shipway
from shipway.cli.console import console
from shipway.cli.main import main
from shipway.errors import InvalidSpec
from shipway.planning import find
from shipway.remote import Connection, connect
from tests.fixtures.kfp_server import KfpServer

FOLDER = Path(__file__).parents[2] / "fixtures" / "pipelines"
NAME, FAR = "prep_and_report", {"name": "bot", "data": "s3://bucket/rows.csv"}
Shipway = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"hello {i},greet\nbye {i},leave\nso {i},leave\n" for i in range(40)))
    return path


@pytest.fixture
def shipway_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shipway]:
    """Runs one command line in this process, where nothing of the pipeline lies; (exit code, stdout, stderr)."""
    monkeypatch.setenv("SHIPWAY_PIPELINES", str(FOLDER))
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        console.cache_clear()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        found = capsys.readouterr()
        return int(end.value.code or 0), found.out, found.err

    yield run
    console.cache_clear()


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connection:
    monkeypatch.setenv("SHIPWAY_PIPELINES", str(FOLDER))
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return connect(server.url)


def test_it_is_listed_and_described_with_its_presets_and_sections(shipway_line: Shipway) -> None:
    assert {"kind": "pipeline", "name": NAME, "description": "Prepare rows and count their labels."} in json.loads(
        shipway_line("list", "--json")[1]
    )
    details = json.loads(shipway_line("describe", NAME, "--json")[1])
    assert details["presets"]["short"] == "The three largest labels."
    assert details["sections"]["page"] == ["split", "top"]
    assert all(given["description"] for given in details["inputs"])
    assert "split, top" in shipway_line("describe", NAME)[1]


def test_its_plan_says_what_each_step_will_do_and_starts_nothing(
    shipway_line: Shipway, data: Path, tmp_path: Path
) -> None:
    typed = ("run", NAME, "--local", "--dry-run", "--preset", "short", "--param", "name=bot", "data=rows.csv")
    code, out, err = shipway_line(*typed)
    assert (code, err) == (0, "")
    assert "the 3 largest labels of train" in out
    plan = json.loads(shipway_line(*typed, "--json")[1])
    assert [step["title"] for step in plan["steps"]] == [
        "Check the configuration", "Prepare the rows", "Count the labels",
    ]  # fmt: skip
    assert (plan["specs"]["page"]["top"], plan["specs"]["rows"]["data"]) == (3, str(data))
    assert plan["run"].startswith("prep-and-report-")
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            ["overrides.pages.top=3"],
            r"overrides.pages: unknown section; expected one of rows, page \(did you mean 'page'",
        ),
        (["tops=3"], r"tops: unknown parameter of prep_and_report; .*did you mean 'top'"),
        (["top=1000"], "page.top: .*at most 100, got 1000"),
        (["preset=shrt"], "preset: unknown preset 'shrt'; expected one of default, short.*did you mean 'short'"),
        (["overrides.rows.name=b"], "overrides.rows.name: it is always the parameter name .*got 'b'"),
        (["overrides.page.split=eval", "overrides.rows.eval_fraction=0"], "page.split: 'eval' will have no rows"),
        (["data=gone.csv"], "gone.csv"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line_of_its_own(
    shipway_line: Shipway, data: Path, params: list[str], message: str
) -> None:
    given = ["name=bot", *([] if params[0].startswith("data=") else ["data=rows.csv"]), *params]
    code, out, err = shipway_line("run", NAME, "--local", "--dry-run", "--param", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(message, err), err


@pytest.mark.heavy
def test_it_runs_here_and_its_key_is_that_of_the_dry_run(
    shipway_line: Shipway, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ("run", NAME, "--local", "--json", "--param", "name=bot", "data=rows.csv", "top=1")
    planned = json.loads(shipway_line(*typed, "--dry-run")[1])
    monkeypatch.setenv("SHIPWAY_PIPELINES", os.path.relpath(FOLDER))  # as seen from where it was typed
    code, out, err = shipway_line(*typed)
    done = json.loads(out)
    assert code == 0, err
    assert done["run"] == planned["run"]
    assert [(step["task"], step["state"]) for step in done["steps"]] == [
        ("plan", "Succeeded"), ("dataset", "Succeeded"), ("page", "Succeeded"),
    ]  # fmt: skip
    assert done["steps"][2]["outputs"]["labels"] == 2
    (page,) = (tmp_path / "home" / "kfp" / "root").rglob("html")
    assert "leave" in page.read_text()
    assert "greet" not in page.read_text()


def test_a_process_resolves_the_configuration_once(
    shipway_line: Shipway, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = type(find(NAME).plan)
    resolved, looked = list[str](), list[str]()
    specs, check_head = plan.specs, plan.check_head
    monkeypatch.setattr(plan, "specs", lambda *given: resolved.append("") or specs(*given))
    monkeypatch.setattr(plan, "check_head", lambda *given: looked.append("") or check_head(*given))
    assert shipway_line("run", NAME, "--local", "--dry-run", "--param", "name=bot", "data=rows.csv")[0] == 0
    assert (len(resolved), len(looked)) == (1, 1)


def test_it_compiles(shipway_line: Shipway, tmp_path: Path) -> None:
    assert shipway_line("compile", NAME)[0] == 0
    ir = next(iter(yaml.safe_load_all((tmp_path / f"{NAME}.yaml").read_text())))
    assert ir["pipelineInfo"]["name"] == "prep-and-report"
    assert set(ir["root"]["dag"]["tasks"]) == {"plan", "dataset", "page"}


def test_it_is_published_as_its_plan_says_and_submitted_and_scheduled_as_its_plan_checks(
    kubeflow: Connection, server: KfpServer
) -> None:
    done = kubeflow.publish(NAME, pin=False)
    assert (done.pipeline, done.version) == ("prep-and-report", "prep-and-report-v1-0-0")
    for name in (NAME, "prep-and-report"):
        with pytest.raises(InvalidSpec, match=r"page.splt: unknown field.*did you mean 'split'"):
            kubeflow.prepare(name, {**FAR, "overrides": {"page": {"splt": "eval"}}})
    with pytest.raises(InvalidSpec, match="preset: unknown preset 'shrt'"):
        kubeflow.schedule(NAME, "every monday at 01:00", params={**FAR, "preset": "shrt"})
    assert kubeflow.submit(NAME, {**FAR, "top": 2}).params["top"] == 2
    assert kubeflow.schedule(NAME, "every monday at 01:00", params=FAR).name == "prep-and-report-bot"
    assert len(server.state.runs) == 1


def test_a_published_version_that_is_not_the_plans_is_checked_by_types_alone(kubeflow: Connection) -> None:
    """The plan here knows only itself: another version may have other sections."""
    kubeflow.publish(NAME, version="0.9.0", pin=False)
    assert kubeflow.prepare(NAME, {**FAR, "overrides": {"pages": {}}}).params["overrides"] == {"pages": {}}
    with pytest.raises(InvalidSpec, match="top: got 'many'"):
        kubeflow.prepare(NAME, {**FAR, "top": "many"})


def test_from_python_it_goes_by_its_name_too(shipway_line: Shipway, data: Path, tmp_path: Path) -> None:
    out = shipway.compile_pipeline(NAME, tmp_path / "p.yaml")
    assert "prep-and-report" in out.read_text()
    with pytest.raises(InvalidSpec, match=r"overrides.pages: unknown section"):
        shipway.run(NAME, name="bot", data=str(data), overrides={"pages": {}})
