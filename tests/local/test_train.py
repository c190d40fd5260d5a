"""Training replicas as real processes, against the real object store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import ModelManifest
from shipway.scoring import ModelSession
from shipway.storage import open_folder, open_uri
from shipway.training import events
from tests.fixtures.tiny_model import Tiny

pytestmark = pytest.mark.heavy


def test_a_trained_model_answers_its_test_rows(tiny: Tiny, store_uri: str) -> None:
    model = tiny.model
    assert model.metrics["val_accuracy"] > 0.6
    assert [variant.name for variant in model.variants] == ["onnx", "saved_model"]
    assert model.serving == "onnx"
    assert model.served.parity is not None
    assert model.served.parity.passed
    assert model.dataset_fingerprint == tiny.dataset.fingerprint
    assert model.labels == tiny.dataset.labels
    assert {"tensorflow-cpu", "tf-keras", "numpy", "python", "onnxruntime"} <= set(model.versions)
    store, key = open_uri(f"{tiny.dataset.uri}/{tiny.dataset.splits['test'].row_files[0].path}")
    rows = pl.read_parquet(store.get(key))
    session = ModelSession.open(model)
    probabilities = session.predict(rows["text"].to_list())["probabilities"]
    assert isinstance(probabilities, np.ndarray)
    hits = np.array(session.labels)[probabilities.argmax(-1)] == rows["label"].to_numpy()
    assert hits.mean() > 0.6
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-5)


@pytest.mark.xdist_group("tensorflow")
def test_onnx_and_saved_model_give_the_same_probabilities(tiny: Tiny, store_uri: str, tmp_path: Path) -> None:
    texts = ["turn on the light in the kitchen", "", "zzz", "what is the weather " * 20]
    onnx = ModelSession.open(tiny.model).predict(texts)
    as_saved = tiny.model.model_copy(update={"serving": "saved_model"})
    saved = ModelSession.open(as_saved).predict(texts)
    np.testing.assert_allclose(onnx["probabilities"], saved["probabilities"], atol=1e-5)


def test_a_model_folder_holds_what_its_manifest_says(tiny: Tiny, store_uri: str) -> None:
    store = open_folder(tiny.model.uri)
    stored = {info.key: info.size_bytes for info in store.list()} | {}
    stored.pop("manifest.json")
    assert stored == {file.path: file.size_bytes for file in tiny.model.files}
    assert {"model.onnx", "encoder.json", "saved_model/saved_model.pb"} <= set(stored)
    again = ModelManifest.from_json(store.get("manifest.json"))
    assert again.digest == tiny.model.digest


def test_tensorboard_files_and_checkpoints_lie_beside_the_model(tiny: Tiny, store_uri: str) -> None:
    job = open_folder(tiny.model.uri.rsplit("/", 1)[0])
    keys = [info.key for info in job.list()]
    steps_told = events.steps_in(job.get(f"tensorboard/{events.NAME}"))
    assert steps_told == sorted(set(steps_told))
    assert steps_told[-1] == tiny.model.steps
    steps = {key.split("/")[1] for key in keys if key.startswith("checkpoints/") and key.count("/") == 2}
    assert len(steps) == 2  # keep_checkpoints: older ones are gone
    pointer = json.loads(job.get("checkpoints/current"))
    assert pointer["target"].split("/")[-1] == max(steps)
