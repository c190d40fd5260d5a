"""A tagger is trained, exported and served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import EvaluationRecord, ModelManifest
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.storage import Store
from shipway.tasks import load_task
from tests.fixtures import tagged
from tests.local.serving import Server, serving

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

TASK = load_task("tagging")
HEAD = TASK.head
ROWS = {"train": tagged.rows(400), "eval": tagged.rows(300, 1), "test": tagged.rows(120, 2)}
TEXTS = ["pool1 sea1 shared2", "shared1 shared2", "balcony0"]


def test_sums_of_batches_give_scikit_learns_f1_and_its_standard_error() -> None:
    import tensorflow as tf

    random = np.random.default_rng(1)
    logits = random.normal(-0.5, 2, (600, 4)).astype(np.float32)
    labels = (random.random(logits.shape) < 0.3).astype(np.float32)
    parts = [
        HEAD.sums(tf.constant(logits[i : i + 100]), {"label": tf.constant(labels[i : i + 100])})
        for i in range(0, 600, 100)
    ]
    sums = np.sum([part.numpy() for part in parts], axis=0)
    found = HEAD.totals(sums)
    assert found["micro_f1"] == pytest.approx(sk.f1_score(labels, logits >= 0, average="micro"))
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    losses = [sk.log_loss(labels[:, i], scores[:, i]) for i in range(4)]
    assert found["loss"] == pytest.approx(float(np.mean(losses)), rel=1e-5)
    drawn = [random.integers(0, 600, 600) for _ in range(400)]
    spread = np.std([sk.f1_score(labels[rows], logits[rows] >= 0, average="micro") for rows in drawn])
    assert HEAD.stderr(sums) == pytest.approx(spread, rel=0.15)
    batch = HEAD.batch(tf.constant(logits), {"label": tf.constant(labels)})
    assert float(batch["micro_f1"]) == pytest.approx(found["micro_f1"])
    none = np.zeros_like(sums)
    none[-1] = 5
    assert (HEAD.totals(none)["micro_f1"], HEAD.stderr(none)) == (0.0, 0.0)


def test_a_tagger_learns_by_its_f1_and_is_exported_with_honest_scores(tmp_path: Path) -> None:
    from shipway.scoring import ModelSession
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    dataset = tagged.write_dataset(tmp_path / "dataset", ROWS)
    spec = FitSpec(name="homes", recipe=tagged.REFERENCE, steps=120, batch_size=32, checkpoint_steps=20)
    fitted = fit(spec, dataset, tmp_path)
    assert list(fitted.state.metrics) == ["loss", "micro_f1", "val_micro_f1", "val_loss"]
    assert fitted.state.best_metrics["val_micro_f1"] > 0.8
    model = publish(fitted, tmp_path, (tmp_path / "model").as_uri(), "homes", "")
    assert model.serving == "onnx", model.served.parity
    assert set(model.constants) == {"temperature"}
    assert {name: (each.dtype, each.shape) for name, each in model.outputs.items()} == {"scores": ("float32", [4])}
    scores = ModelSession.open(model, recipes=[tagged.REFERENCE]).predict(TEXTS)["scores"]
    assert isinstance(scores, np.ndarray)
    assert (scores >= 0.5).tolist() == [[False, False, True, True], [False] * 4, [True, False, False, False]]


def test_rows_with_a_separator_or_json_become_a_dataset_that_leaves_out_unseen_tags(tmp_path: Path) -> None:
    rows = pl.concat([frame.with_columns(split=pl.lit(split)) for split, frame in ROWS.items()])
    unseen = (pl.col("row_id") < 10) & (pl.col("split") == "test")
    with_bar = pl.col("label").str.json_decode(pl.List(pl.String)).list.join(" | ")
    label = pl.when(unseen).then(pl.lit("Pool|Sauna")).when(pl.col("row_id") % 2 == 0).then(with_bar)
    rows = rows.with_columns(label=label.otherwise(pl.col("label")))
    rows.select("text", "label", "split", "group").write_csv(tmp_path / "rows.csv")
    spec = DatasetSpec(
        name="homes", data=str(tmp_path / "rows.csv"), recipe=tagged.REFERENCE, split_column="split",
        group_column="group", labels={"allow_none": True}, on_unseen_label="quarantine",
    )  # fmt: skip
    dataset, _ = make_dataset(spec, Store.open((tmp_path / "store").as_uri()))
    assert (dataset.task, dataset.labels, dataset.targets["label"].shape) == ("tagging", list(tagged.TAGS), [4])
    test, train = dataset.splits["test"], dataset.splits["train"]
    assert test.left_out == {"Sauna": 10}
    assert (test.rows, dataset.quarantined_rows) == (110, 10)
    hot = TASK.labels.encode(SimpleNamespace(labels=dataset.labels), ROWS["train"]["label"].to_list(), [], {})["label"]  # type: ignore[arg-type]
    assert list(train.class_counts.values()) == hot.sum(axis=0).tolist()
    model = tagged.write_model(tmp_path / "model", dataset, ROWS["train"])
    (tmp_path / "scratch").mkdir()
    spec_of_it = EvaluationSpec(recipes=[tagged.REFERENCE], bootstrap=0)
    record = measure(
        model, dataset, spec_of_it, store=Store.open((tmp_path / "store").as_uri()), folder=tmp_path / "scratch"
    )
    assert record.rows == 110
    assert "rows with all tags right at least" in record.about_left_out


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, ModelManifest, EvaluationRecord]]:
    root = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        patch.setenv("SHIPWAY_STORE", (root / "store").as_uri())
        patch.setenv("SHIPWAY_RECIPES", tagged.REFERENCE)
        dataset = tagged.write_dataset(root / "dataset", ROWS)
        model = tagged.write_model(root / "model", dataset, ROWS["train"])
        (root / "scratch").mkdir()
        spec = EvaluationSpec(baselines=[], bootstrap=0)
        record = measure(model, dataset, spec, store=Store.open(), folder=root / "scratch")
        with serving(root, model, "pass", "--answers", '{"threshold": 0.3}') as server:
            yield server, model, record


def test_an_endpoint_names_tags_from_its_threshold_on_over_both_protocols(served: Any) -> None:
    server, _, _ = served
    status, answer = server.predict({"instances": TEXTS})
    assert status == 200, answer
    found = [[tag["tag"] for tag in each["tags"]] for each in answer["predictions"]]
    assert [set(tags) for tags in found] == [{"Pool", "Sea view"}, set(), {"Balcony"}]
    _, answer = server.predict({"instances": TEXTS, "parameters": {"top_k": "all"}})
    assert {len(each["tags"]) for each in answer["predictions"]} == {4}
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    status, answer = server.infer({"inputs": [tensor]})
    assert status == 200, answer
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["tags"]["shape"] == outputs["scores"]["shape"] == [3, 2]
    assert outputs["tags"]["data"] == [*found[0], "", "", "Balcony", ""]
    status, answer = server.predict({"instances": ["a"], "parameters": {"top_k": 0}})
    assert (status, answer["error"]) == (400, 'parameters.top_k must be a whole number from 1, "all" or null, got 0')


def test_the_check_passes_for_the_evaluated_model(served: Any) -> None:
    server, model, record = served
    found = check_endpoint(f"{server.url}/v1/models/toy:predict", kept_rows(record, model, 60), 1e-5, 3)
    assert found.passed, found.reason
    assert (found.rows, found.agreement) == (60, 1.0)
