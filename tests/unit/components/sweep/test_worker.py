"""What a runner makes of the work that it finds in the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shipway.components.sweep.engine import Engine
from shipway.components.sweep.experiment import runner_manifest
from shipway.components.sweep.ledger import Ledger, Request
from shipway.components.sweep.search import Search
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.worker import main
from shipway.errors import CorruptArtifact
from shipway.specs import parse
from shipway.storage import open_folder

SPACE = {
    "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
    "algorithm": {"algorithmName": "random"},
    "maxTrialCount": 2,
    "parameters": [
        {"name": "rate", "parameterType": "double", "feasibleSpace": {"min": 0.1, "max": 0.5}},
        {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["1", "b"]}},
    ],
    "function": "tests.unit.components.sweep.test_worker:score",
}
VALUES = {"rate": 0.25, "kind": "1"}
seen: list[dict[str, Any]] = []


def score(**params: Any) -> float:
    seen.append(params)
    return 1.0


def spec() -> SweepSpec:
    return parse(SweepSpec, SPACE, "sweep")


def run(folder: Path, stored: Request, monkeypatch: pytest.MonkeyPatch) -> int:
    """One runner, started as its manifest says, on a request as it lies in the store."""
    uri = folder.as_uri()
    ledger = Ledger(open_folder(uri))
    ledger.request(stored)
    ledger.assign("s-w0-1", 0, {"number": stored.number, "attempt": stored.attempt})
    ledger.assign("s-w0-1", 1, {"end": True})
    manifest = runner_manifest(spec(), "s-w0-1", uri, "file:///rows", uri, 0)
    [replica] = manifest["spec"]["tfReplicaSpecs"].values()
    [container] = replica["template"]["spec"]["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    seen.clear()
    return main(container["command"][3:])


def test_a_runner_calls_what_it_was_started_for_with_the_parameters_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, Request(3, 1, VALUES), monkeypatch) == 0
    assert seen == [VALUES]  # the text "1" is no number


def test_a_request_in_the_store_names_no_function_and_no_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class Naming(Request):
        function: str = "shutil:rmtree"

    assert run(tmp_path, Naming(3, 1, VALUES), monkeypatch) != 0
    assert not seen
    assert "3/1/request.json: no request of a trial: it was edited" in capsys.readouterr().err


@pytest.mark.parametrize(
    "params", [{"rate": 0.2}, {**VALUES, "embeddings": "file:///etc/passwd"}, {**VALUES, "kind": {"$param": "rate"}}]
)
def test_a_request_with_other_parameters_than_the_sweeps_ends_its_runner(
    params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, Request(3, 1, params), monkeypatch) != 0
    assert not seen
    assert "it was edited; run again with --fresh" in capsys.readouterr().err


@pytest.mark.parametrize(
    "params",
    [{"rate": 0.2}, {**VALUES, "embeddings": "file:///etc/passwd"}, {**VALUES, "rate": 9.0}, {**VALUES, "kind": 1}],
)
@pytest.mark.parametrize("what", ["record", "request"])
def test_a_sweep_that_goes_on_takes_no_parameters_from_outside_its_space(
    what: str, params: dict[str, Any], tmp_path: Path
) -> None:
    from shipway.artifacts import TrialRecord

    ledger = Ledger(open_folder(tmp_path.as_uri()))
    if what == "record":
        ledger.finish(TrialRecord(number=0, state="Succeeded", params=params, metrics={"accuracy": 1.0}), {})
    else:
        ledger.request(Request(0, 1, params))
    trials: Any = None  # nothing may be started
    engine = Engine(spec(), Search(spec(), VALUES), ledger, trials)
    with pytest.raises(CorruptArtifact, match="trials/0000: its parameters are not of this sweep's space"):
        engine.run()
