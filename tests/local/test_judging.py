"""Evaluate, gate and register as KFP plays them, on a model really trained, in a real object store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipway import runs
from shipway.artifacts import DecisionRecord, EvaluationRecord
from shipway.registry import Registry
from shipway.scoring import ModelSession
from shipway.scoring.predictions import read_columns
from shipway.storage import Store, open_folder
from tests.fixtures.tiny_model import Tiny

PIPELINE = f"{Path(__file__).with_name('judging.py')}:judge"


@pytest.mark.heavy
def test_a_trained_model_is_measured_judged_and_registered_and_a_strict_policy_only_ends_the_branch(
    tiny: Tiny, store_uri: str, tmp_path: Path
) -> None:
    tiny.model.write(tmp_path / "model.json")
    tiny.dataset.write(tmp_path / "dataset.json")
    given = {"model": str(tmp_path / "model.json"), "dataset": str(tmp_path / "dataset.json")}
    run = runs.run(
        PIPELINE,
        {**given, "evaluation": "slices: [split]", "promotion": "baselines: {must_not_lose_to: []}"},
        wait=True,
    )
    assert run.state == "Succeeded", {task: step.error for task, step in run.steps.items()}
    facts = run.steps["model"].outputs
    record = EvaluationRecord.from_json(open_folder(str(facts["uri"])).get("record.json"))
    assert record.metrics == facts["metrics"]
    assert record.rows == tiny.dataset.splits["test"].rows
    assert record.groups == tiny.dataset.splits["test"].groups
    assert [b.name for b in record.baselines] == ["majority", "linear_svm"]
    assert run.steps["gate"].outputs["decision"] == "blessed", run.steps["gate"].outputs["reason"]

    registry = Registry(Store.open(store_uri))
    version = registry.get("tiny", "candidate")
    assert (version.version, version.digest, version.run) == (1, tiny.model.digest, run.key)
    assert version.evaluation == record
    assert isinstance(version.decision, DecisionRecord)
    # What was kept of evaluation is what the registered copy answers.
    kept = tmp_path / "predictions.parquet"
    open_folder(record.uri).download(record.predictions.path, kept, sha256=record.predictions.sha256)
    rows = pl.read_parquet(kept)
    hashes = tmp_path / "groups.parquet"
    part = tiny.dataset.splits["test"].group_hashes
    assert part is not None
    open_folder(tiny.dataset.uri).download(part.path, hashes, sha256=part.sha256)
    assert set(rows["group_hash"]) == set(pl.read_parquet(hashes)["group_hash"])
    session = ModelSession.open(version.model, cache=tmp_path / "cache")
    again = session.predict(rows["text"].to_list(), batch_size=7)["probabilities"]
    np.testing.assert_allclose(again, read_columns(rows, record.columns)["probabilities"], atol=1e-5)

    registry.promote("tiny")
    strict = {**given, "evaluation": "slices: [split]", "promotion": "thresholds: {log_loss: 0.0000001}"}
    rejected = runs.run(PIPELINE, strict, wait=True)
    assert rejected.state == "Succeeded"
    assert rejected.steps["gate"].outputs["decision"] == "rejected"
    assert rejected.steps["gate"].outputs["champion"] == "same"
    assert rejected.steps["register"].state == "Skipped"
    assert registry.versions("tiny") == [1]


@pytest.mark.heavy
@pytest.mark.xdist_group("tensorflow")
def test_a_model_served_by_its_saved_model_answers_as_its_onnx_does(tiny: Tiny, store_uri: str, tmp_path: Path) -> None:
    texts = ["turn on the light in the kitchen", "", "play something quiet", "wake me in ten minutes please " * 5]
    onnx = ModelSession.open(tiny.model, cache=tmp_path, threads=1)
    saved = ModelSession.open(tiny.model.model_copy(update={"serving": "saved_model"}), cache=tmp_path)
    assert {path.name.rsplit("-", 1)[1] for path in tmp_path.iterdir() if path.name != "home"} >= {
        variant.digest for variant in tiny.model.variants
    }
    first, second = (session.predict(texts)["probabilities"] for session in (onnx, saved))
    np.testing.assert_allclose(first, second, atol=tiny.model.served.tolerance, rtol=0)
