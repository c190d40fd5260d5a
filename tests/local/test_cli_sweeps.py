"""`shipway sweeps`: a running sweep is stopped, looked at by the store's records alone, and goes on where it was."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipway.components.sweep import launch
from shipway.components.sweep.spec import SweepSpec
from shipway.specs import parse
from tests.fixtures import typed
from tests.local.test_sweep import HERE, PRELOADED, records, wait_for

Shipway = Callable[..., Any]


@pytest.fixture
def shipway(local_store_uri: str, monkeypatch: pytest.MonkeyPatch) -> Shipway:
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setenv("SHIPWAY_RUN", "test-run")
    monkeypatch.syspath_prepend(HERE)

    def call(*arguments: str, code: int = 0) -> Any:
        done = typed.run(["sweeps", *arguments], cwd=Path.cwd(), env=os.environ)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in arguments and code == 0 else done.stdout + done.stderr

    return call


@pytest.fixture
def engines() -> Any:
    """Starts engines in processes of their own, and ends what is left of them."""
    import cheap_trials  # type: ignore[import-not-found]

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    started = []

    def start(document: dict[str, Any]) -> Any:
        environment = {k: v for k, v in os.environ.items() if k.startswith("SHIPWAY_") or k == "PYTHONPATH"}
        started.append(context.Process(target=cheap_trials.search, args=(environment, document, "")))
        started[-1].start()
        return started[-1]

    yield start
    for engine in started:
        engine.kill()
        engine.join()


def document(folder: Path, trials: int, **more: Any) -> dict[str, Any]:
    """Trials from the third on wait for the file `go`."""
    (folder / "log").touch()
    return {
        "objective": "maximize score", "parameters": {"x": "uniform(0, 1)"}, "algorithm": "random",
        "function": "cheap_trials:patient", "maxTrialCount": trials, "parallelTrialCount": 1,
        "training": {"name": "count", "params": {"log": str(folder / "log"), "go": str(folder / "go")}}, **more,
    }  # fmt: skip


def test_a_sweep_is_stopped_with_what_it_has_and_goes_on_where_it_was(
    tmp_path: Path, shipway: Shipway, engines: Any
) -> None:
    assert shipway("list", "--json") == []
    spec = document(tmp_path, 5)
    name, uri, _ = launch.identify(parse(SweepSpec, spec, "sweep"), "")
    engine = engines(spec)
    wait_for(lambda: len(records(uri)) >= 2)
    [row] = shipway("list", "--json")
    assert (row["sweep"], row["model"], row["state"], row["of"]) == (name, "count", "Running", 5)
    assert "being played by" in shipway("resume", name, code=2)
    stopped = shipway("stop", name, "--json")
    engine.join(30)
    assert (stopped["state"], stopped["was_over"]) == ("Stopped", False)
    assert stopped["trials"] == 2
    finished = Counter((tmp_path / "log").read_text().split())
    shown = shipway("show", "last", "--json")
    assert shown["why"].startswith("stopped by ")
    assert [trial["state"] for trial in shown["trials"]] == ["Succeeded"] * stopped["trials"]
    assert shown["best_params"] == max(shown["trials"], key=lambda trial: trial["metrics"]["score"])["params"]
    assert json.loads(shipway("best", name[:12])) == shown["best_params"]
    assert shipway("stop", name, "--json")["was_over"]
    (tmp_path / "go").touch()
    ended = shipway("resume", name, "--json")
    assert (ended["state"], ended["trials"]) == ("Ended", 5)
    again = Counter((tmp_path / "log").read_text().split())
    assert len(again) == 5
    assert {x: again[x] for x in finished} == finished  # none of these a second time
    assert "went to its end" in shipway("resume", name, code=2)
    assert "no sweep is called 'nobody'" in shipway("show", "nobody", code=2)


def test_two_sweeps_are_compared_by_what_each_had_after_so_many_trials(
    tmp_path: Path, shipway: Shipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    (tmp_path / "go").touch()
    for trials, seed in ((3, 1), (5, 2)):
        spec = parse(SweepSpec, document(tmp_path, trials, seed=seed), "sweep")
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        from shipway.components.sweep.page import publish

        publish(*launch.play(spec, "", ""))
        names.append(launch.identify(spec, "")[0])
    compared = shipway("compare", *names, "--json")
    assert [len(sweep["space"]) for sweep in compared["sweeps"]] == [1, 1]
    assert [curve[-1][0] for curve in compared["curves"]] == [2, 4]
    text = shipway("compare", *names)
    assert "best after trials" in text
    assert "0 to 1" in text
    table = shipway("show", names[0])
    assert "CPU hours" in table


def test_a_second_driver_takes_a_sweep_over_and_no_finished_trial_runs_twice(
    tmp_path: Path, shipway: Shipway, engines: Any
) -> None:
    spec = document(tmp_path, 6)
    _, uri, _ = launch.identify(parse(SweepSpec, spec, "sweep"), "")
    first = engines(spec)
    wait_for(lambda: len(records(uri)) >= 2)
    second = engines(spec)
    wait_for(lambda: not first.is_alive())  # it sees that another has taken over
    (tmp_path / "go").touch()
    wait_for(lambda: not second.is_alive())
    assert second.exitcode == 0
    assert first.exitcode != 0
    assert [record.number for record in records(uri)] == list(range(6))
    ran = Counter((tmp_path / "log").read_text().split())
    assert set(ran.values()) == {1}
