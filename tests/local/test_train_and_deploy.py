"""The whole line on a stranger's CSV: from rows to an answer over HTTP, again, changed, and wrong."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import typed
from tests.fixtures.strangers_rows import write_rows

PARAMS = ["name=my-bot", "data=bots.csv", "input_column=utterance", "label_column=intent", "preset=quick"]
TINY = {"training": {"params": {"dim": 16, "hidden": 16}, "epochs": 6, "batch_size": 32}}
CACHED = ("dataset", "search", "job", "model")


class Home:
    """One user's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPWAY_", "AWS_"))}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return typed.run(arguments, cwd=self.folder, env=self.environment)

    def run(self, *more: str, overrides: dict[str, Any] = TINY) -> dict[str, Any]:
        params = [*PARAMS, *more, f"overrides={json.dumps(overrides)}"]
        done = self.call("run", "train_and_deploy", "--local", "--json", "--param", *params)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def start(self, overrides: dict[str, Any] = TINY) -> subprocess.Popen[bytes]:
        """The same run, not waited for."""
        params = [*PARAMS, f"overrides={json.dumps(overrides)}"]
        command = [typed.SHIPWAY, "run", "train_and_deploy", "--local", "--json", "--param", *params]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=quiet, stderr=quiet)

    def events(self) -> list[tuple[str, str]]:
        """(task, state) of the only run's steps, as far as they have come."""
        found = []
        for path in (self.folder / ".shipway" / "runs").glob("*/events.jsonl"):
            for line in path.read_text().splitlines():
                event = json.loads(line)
                if event["kind"] == "step":
                    found.append((event["step"]["task"], event["step"]["state"]))
        return found

    def job_processes(self) -> list[int]:
        """Processes of jobs that this home's runs started and that still live."""
        ours = f"SHIPWAY_HOME={self.folder}/.shipway".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if ours in environment and any(entry.startswith(b"SHIPWAY_JOB=") for entry in environment):
                found.append(int(folder.name))
        return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("user")
    write_rows(folder / "bots.csv")
    found = Home(folder)
    yield found
    assert found.call("down").returncode == 0


@pytest.fixture(scope="module")
def first(home: Home) -> dict[str, Any]:
    """A run that is killed while it trains, then typed again."""
    killed = home.start()
    until(lambda: killed.poll() is not None or ("job", "Running") in home.events(), "training begins")
    until(lambda: killed.poll() is not None or bool(home.job_processes()), "a replica runs")
    assert killed.poll() is None
    killed.kill()
    killed.wait()
    until(lambda: not home.job_processes(), "no replica outlives the run")
    return home.run()


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < end, f"still waiting until {what}"
        time.sleep(0.05)


def states(run: dict[str, Any]) -> dict[str, str]:
    return {step["task"]: step["state"] for step in run["steps"]}


def ask(url: str, text: str) -> dict[str, Any]:
    body = json.dumps({"instances": [text]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["predictions"][0]
    return found


pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900), pytest.mark.xdist_group("train_and_deploy")]


def test_a_strangers_csv_ends_as_a_served_judged_model_though_its_run_was_killed(first: dict[str, Any]) -> None:
    assert first["state"] == "Succeeded"
    found = states(first)
    assert [found.pop(task) for task in ("dataset", "search")] == ["Cached"] * 2, "it went on where it was killed"
    assert set(found.values()) == {"Succeeded"}
    assert first["decision"]["decision"] == "blessed"
    assert first["model"] == {"name": "my-bot", "version": 1}
    assert set(first["evaluation"]["baselines"]) == {"majority", "linear_svm"}
    assert ask(first["endpoint"]["predict_url"], "fly me to madrid")["label"] == "flight"


def test_the_same_run_again_comes_from_the_cache_and_keeps_the_version(home: Home, first: dict[str, Any]) -> None:
    again = home.run()
    assert again["run"] == first["run"]
    assert {task: state for task, state in states(again).items() if state == "Cached"} == dict.fromkeys(
        CACHED, "Cached"
    )
    assert again["model"] == first["model"]
    assert again["endpoint"] == first["endpoint"]


def test_a_changed_policy_judges_anew_and_trains_nothing(home: Home, first: dict[str, Any]) -> None:
    strict = home.run(overrides={**TINY, "promotion": {"thresholds": {"log_loss": 0.0}}})
    found = states(strict)
    assert [found[task] for task in CACHED] == ["Cached"] * 4
    assert strict["state"] == "Succeeded"
    assert strict["decision"]["decision"] == "rejected"
    assert (found["release.register"], found["release.deploy"]) == ("Skipped", "Skipped")
    assert ask(first["endpoint"]["predict_url"], "fly me to madrid")["label"] == "flight"


def test_a_csv_edited_in_place_is_prepared_trained_and_judged_against_the_champion(
    home: Home, first: dict[str, Any]
) -> None:
    write_rows(home.folder / "bots.csv", [(f"fly me far away number {i}", "flight") for i in range(40)])
    edited = home.run()
    assert edited["run"] != first["run"]
    assert {states(edited)[task] for task in ("dataset", "job", "model")} == {"Succeeded"}
    assert edited["decision"]["champion_version"] == 1
    if edited["decision"]["decision"] == "blessed":
        assert edited["model"]["version"] == 2
        assert edited["endpoint"]["url"] == first["endpoint"]["url"]
    assert ask(first["endpoint"]["predict_url"], "fly me to madrid")["label"] == "flight"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (["name=b", "data=gone.csv"], "gone.csv"),
        (["name=b", "data=bots.csv"], "text"),
        (["data=bots.csv"], "name: missing"),
        (["name=b", "data=bots.csv", "preset=quik"], "did you mean 'quick'"),
        (["name=b", "data=bots.csv", "strateggy=single"], "did you mean 'strategy'"),
        (["name=b", "data=bots.csv", "strategy=singel"], "single"),
        (["name=b", "data=bots.csv", "epochs=many"], "epochs: got 'many', expected a whole number"),
        (["name=b", "data=bots.csv", 'overrides={"trainin": {}}'], "did you mean 'training'"),
        (["name=b", "data=bots.csv", 'overrides={"training": {"batchsize": 1}}'], "did you mean 'batch_size'"),
        (["name=b", "data=bots.csv", 'overrides={"training": {"params": {"lr": 1}}}'], "training.params.lr: unknown"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(home: Home, params: list[str], message: str) -> None:
    done = home.call("run", "train_and_deploy", "--local", "--param", *params)
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert message in errors[0]
    assert "Traceback" not in done.stdout + done.stderr
