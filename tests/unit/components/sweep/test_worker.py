"""What a runner makes of the work that it finds in the store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import shipway
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
}
VALUES = {"rate": 0.25, "kind": "1"}
seen: list[dict[str, Any]] = []


def score(**params: Any) -> float:
    seen.append(params)
    return 1.0


def talkative(**params: Any) -> float:
    for step in range(5000):
        shipway.report(step=step, accuracy=1.0)
    return 1.0


def failing(**params: Any) -> float:
    return float(1 / 0)


def spec(function: str = "score") -> SweepSpec:
    return parse(SweepSpec, {**SPACE, "function": f"{__name__}:{function}"}, "sweep")


def run(folder: Path, stored: Request, monkeypatch: pytest.MonkeyPatch, function: str = "score") -> int:
    """One runner, started as its manifest says, on a request as it lies in the store."""
    uri = folder.as_uri()
    ledger = Ledger(open_folder(uri))
    ledger.request(stored)
    ledger.assign("s-w0-1", 0, {"number": stored.number, "attempt": stored.attempt})
    ledger.assign("s-w0-1", 1, {"end": True})
    manifest = runner_manifest(spec(function), "s-w0-1", uri, "file:///rows", uri, 0)
    [replica] = manifest["spec"]["tfReplicaSpecs"].values()
    [container] = replica["template"]["spec"]["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "node-a"))
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


def test_thousands_of_reports_are_few_writes_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write holds all reports before it: one a report would take hours."""
    written = []
    real = Ledger.set_status
    monkeypatch.setattr(Ledger, "set_status", lambda self, *given: [written.append(given), real(self, *given)][1])
    request = Request(3, 1, VALUES)
    assert run(tmp_path, request, monkeypatch, "talkative") == 0
    assert len(written) < 1000
    status = Ledger(open_folder(tmp_path.as_uri())).status(3, request.attempt)
    assert status is not None
    assert [step for step, _ in status.reports] == list(range(5000))
    assert status.node == "node-a"


def test_a_trial_that_raises_says_in_which_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(3, 1, VALUES)
    assert run(tmp_path, request, monkeypatch, "failing") == 0
    status = Ledger(open_folder(tmp_path.as_uri())).status(3, request.attempt)
    assert status is not None
    assert re.fullmatch(
        r"ZeroDivisionError: division by zero \(test_worker\.py:\d+: return float\(1 / 0\)\)", status.error
    )
