"""Tasks of one room, a loop and nested pipelines on this machine: no step touches what another wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway import runs
from shipway.artifacts import StepRecord
from shipway.storage import Store
from tests.unit.test_dag import ROOMS, TITLES

VALUES = {
    "train": 1, "train-2": 2, "train-3.0": 30, "train-3.1": 31, "train-3.2": 32, "tune.train.1": 31, "tune.train.2": 32,
    "tune-2.train": 50,
}  # fmt: skip
MEASURED = {"evaluate": 0.01, "tune.evaluate.1": 0.31, "tune.evaluate.2": 0.32, "tune-2.evaluate": 0.5}


@pytest.mark.slow
def test_every_step_keeps_its_record_its_log_and_its_artifacts_and_finds_them_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    run = runs.run(ROOMS, {"marker": str(tmp_path / "marker")}, wait=True)
    assert run.state == "Succeeded", run.record
    assert run.titles == TITLES
    store = Store.open(f"file://{tmp_path}/store")
    found = [StepRecord.from_json(store.get(info.key)) for info in store.list(f"runs/{run.key}/steps/")]
    assert {each.name: each.outputs.get("value") for each in found if each.role == "train"} == VALUES
    measured = {each.name: each.outputs["metrics"]["accuracy"] for each in found if each.role == "evaluate"}  # type: ignore[index]
    assert measured == MEASURED
    assert {path.stem for path in (tmp_path / "home" / "runs" / run.key).glob("*.log")} == {*VALUES, *MEASURED, "_host"}
    assert (tmp_path / "marker").read_text() == "once", "the second training was tried twice, and is told once"
    summary = run.summary()
    assert {step["step"]: step["role"] for step in summary["steps"]} == {
        **dict.fromkeys(VALUES, "train"), **dict.fromkeys(MEASURED, "evaluate"),
    }  # fmt: skip
    assert run.output("evaluate", "metrics") == {"accuracy": 0.5}, "of several the last outside of loops speaks"

    again = runs.run(ROOMS, {"marker": str(tmp_path / "marker")}, wait=True)
    assert {name: (step.state, step.role, step.outputs) for name, step in again.steps.items()} == {
        name: ("Cached", step.role, step.outputs) for name, step in run.steps.items()
    }
    assert runs.load_run(run.key).steps.keys() == run.steps.keys()
