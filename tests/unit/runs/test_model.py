"""The registered version that a run names, as an object, out of a real registry."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shipway.artifacts import RunRecord, StepRecord
from shipway.context import Context
from shipway.errors import CorruptArtifact, NotFound
from shipway.registry import Registry
from shipway.runs import Run
from shipway.runs.here import Here
from shipway.runs.model import Model
from shipway.storage import Store, open_folder
from tests.fixtures import toy
from tests.unit.registry.records import evaluation


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    train = toy.rows(60)
    splits = {"train": train, "eval": toy.rows(20, 1), "test": toy.rows(20, 2)}
    dataset = toy.write_dataset(tmp_path / "dataset", splits)
    model = toy.write_model(tmp_path / "model", dataset, train)
    registry = Registry(Store.open())
    registry.register(model, evaluation=evaluation(model), dataset=dataset, run="r")
    return registry


def test_a_runs_model_is_the_registered_version_with_its_files(registry: Registry, tmp_path: Path) -> None:
    step = StepRecord(
        run="r", task="release.register", role="register", state="Succeeded", outputs={"name": "toy", "version": 1}
    )
    record = RunRecord(run="r", pipeline="p", state="Succeeded", steps=[step])
    model = Run(Here("r", Context.current(), record=record)).model
    assert model == Model("toy", 1)
    assert str(model) == "toy version 1 (candidate)"
    assert model.evaluation is not None
    assert model.evaluation.metrics["accuracy"] == 0.9
    assert model.decision is None
    assert model.card.startswith("# toy, version 1")
    folder = model.download(tmp_path / "here" / "toy")
    for file in model.files:
        assert hashlib.sha256((folder / file.path).read_bytes()).hexdigest() == file.sha256
    assert "candidate" in model._repr_html_()

    open_folder(model.manifest.uri).put(model.files[0].path, b"other bytes")
    with pytest.raises(CorruptArtifact):
        model.download(tmp_path / "again")
    with pytest.raises(NotFound, match="no version 2"):
        Model("toy", 2).manifest  # noqa: B018
