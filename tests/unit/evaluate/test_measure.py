from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.components.evaluate.html import evaluation_report
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.promote.comparison import Champion
from shipway.components.promote.core import judge
from shipway.components.promote.spec import PromotionPolicy, check_policy
from shipway.errors import CorruptArtifact, InvalidData, InvalidSpec
from shipway.registry import ModelVersion
from shipway.registry.card import card_html
from shipway.scoring import ModelSession
from shipway.scoring.predictions import read_columns
from shipway.storage import Store
from shipway.tasks import load_task
from shipway.tasks.classification.details import Details
from shipway.tasks.classification.figures import averages
from shipway.tasks.stored import reader
from tests.fixtures import toy

SPEC = EvaluationSpec(slices=["source"], bootstrap=200)
TASK = load_task("classification")


@dataclass
class Made:
    root: Path
    test: pl.DataFrame
    dataset: DatasetManifest
    model: ModelManifest
    store: Store
    record: EvaluationRecord

    @property
    def details(self) -> Details:
        return Details.model_validate(self.record.details)

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(json.loads(reader(self.record)("confusion.json"))["counts"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("measure")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        train = toy.rows(600)
        unseen = pl.DataFrame({"text": ["something else"] * 3, "label": "intent_x", "group": "odd", "source": "app"})
        seen = toy.rows(240, 2)
        unseen = unseen.with_columns(row_id=pl.int_range(240, 243)).select(seen.columns)
        test = pl.concat([seen, unseen])
        dataset = toy.write_dataset(root / "dataset", {"train": train, "eval": toy.rows(120, 1), "test": test})
        model = toy.write_model(root / "model", dataset, train)
        store = Store.open((root / "store").as_uri())
        (root / "scratch").mkdir()
        record = measure(model, dataset, SPEC, store=store, folder=root / "scratch")
    return Made(root, test, dataset, model, store, record)


def test_the_record_agrees_with_the_model_asked_directly(made: Made) -> None:
    session = ModelSession.open(made.model, made.root / "model")
    answers = np.array(session.labels)[
        np.asarray(session.predict(made.test["text"].to_list())["probabilities"]).argmax(axis=1)
    ]
    assert made.record.rows == 243
    assert made.record.metrics["accuracy"] == pytest.approx((answers == made.test["label"].to_numpy()).mean())
    assert made.record.metrics["accuracy"] == averages(made.counts)["accuracy"]
    assert 0.5 < made.record.metrics["accuracy"] < 1
    interval = made.record.intervals["accuracy"]
    assert interval.low < made.record.metrics["accuracy"] < interval.high


def test_labels_that_the_model_does_not_know_count_as_errors_and_are_named(made: Made) -> None:
    assert made.details.unknown_labels == {"intent_x": 3}
    assert "3 rows have a label that the model never saw" in made.record.headline[0]
    assert made.record.metrics["unknown_label_rate"] == pytest.approx(3 / 243)
    assert made.record.metrics["accuracy_all_rows"] == made.record.metrics["accuracy"]


def test_rows_that_prep_left_out_are_told_by_page_gate_and_card(made: Made, tmp_path: Path) -> None:
    splits = {**made.dataset.splits, "test": made.dataset.splits["test"].model_copy(update={"left_out": {"rare": 27}})}
    dataset = made.dataset.model_copy(update={"splits": splits})
    store = Store.open((tmp_path / "store").as_uri())
    record = measure(made.model, dataset, SPEC, store=store, folder=tmp_path)
    right = round(made.record.metrics["accuracy"] * 243)
    assert record.metrics["accuracy"] == made.record.metrics["accuracy"]
    assert record.metrics["accuracy_all_rows"] == pytest.approx(right / 270)
    assert record.metrics["unknown_label_rate"] == pytest.approx(30 / 270)
    told = "27 of 270 test rows were left out, as train has none of their labels (rare)"
    assert record.about_left_out.endswith(
        f"accuracy with them as wrong answers {right / 270:.4f}, without them {right / 243:.4f}"
    )
    assert told in evaluation_report(record, TASK, reader(record)).render()
    policy, _ = check_policy(PromotionPolicy(), TASK)
    rules = judge(policy, record, [], Champion("none", ""))
    assert any(told in rule.detail for rule in rules)
    version = ModelVersion(
        name="bot", version=1, digest=made.model.digest, model=made.model, source_uri=made.model.uri,
        evaluation=record, dataset_uri=dataset.uri, dataset_fingerprint=dataset.fingerprint,
    )  # fmt: skip
    assert told in card_html(version)
    assert "intent_x" not in made.record.labels
    [unknown] = [found for found in made.details.per_class if found.label == "intent_x"]
    assert (unknown.recall, unknown.support) == (0, 3)


def test_predictions_are_kept_by_row_and_the_files_are_those_of_the_record(made: Made) -> None:
    key = f"{made.record.uri.removeprefix(made.store.uri + '/')}/predictions.parquet"
    path = made.root / "kept.parquet"
    made.store.download(key, path, sha256=made.record.predictions.sha256)
    kept = pl.read_parquet(path)
    assert kept["row_id"].to_list() == made.test["row_id"].to_list()
    assert kept.schema["group_hash"] == pl.UInt64
    assert kept["text"].to_list() == made.test["text"].to_list()
    assert kept["source"].to_list() == made.test["source"].to_list()
    probabilities = read_columns(kept, made.record.columns)["probabilities"]
    assert isinstance(probabilities, np.ndarray)
    session = ModelSession.open(made.model, made.root / "model")
    np.testing.assert_array_equal(probabilities, session.predict(made.test["text"].to_list())["probabilities"])
    assert kept["preview"].to_list() == made.test["text"].to_list()
    assert probabilities.shape == (243, len(made.record.labels))
    np.testing.assert_allclose(probabilities.max(axis=1), kept["probability"].to_numpy())
    truth = [made.record.labels.index(label) if label in made.record.labels else None for label in kept["label"]]
    expected = [0.0 if i is None else probabilities[row, i] for row, i in enumerate(truth)]
    np.testing.assert_allclose(kept["label_probability"].to_numpy(), expected)
    matrix = json.loads(made.store.get(key.replace("predictions.parquet", "confusion.json")))
    assert matrix == {"labels": [*made.record.labels, "intent_x"], "counts": made.counts.tolist()}
    stored = made.store.get(key.replace("predictions.parquet", "record.json"))
    assert EvaluationRecord.from_json(stored) == made.record


def test_slices_are_the_figures_of_their_rows(made: Made) -> None:
    assert {line.value for line in made.record.slices} == {"app", "voice"}
    assert sum(line.rows for line in made.record.slices) == 243
    whole = sum(line.metrics["accuracy"] * line.rows for line in made.record.slices) / 243
    assert whole == pytest.approx(made.record.metrics["accuracy"])


def test_worst_confusions_come_with_rows_that_were_confused_that_way(made: Made) -> None:
    texts = dict(zip(made.test["text"], made.test["label"], strict=True))
    assert made.details.worst_confusions[0].count >= made.details.worst_confusions[-1].count
    for confusion in made.details.worst_confusions:
        assert 1 <= len(confusion.examples) <= 3
        assert all(texts[str(example["preview"])] == confusion.label for example in confusion.examples)


def test_baselines_are_fitted_on_the_training_rows_and_a_model_that_loses_is_said_to_lose(made: Made) -> None:
    majority, svm = made.record.baselines
    assert (majority.name, svm.name) == ("majority", "linear_svm")
    assert majority.metrics["accuracy"] < svm.metrics["accuracy"]
    assert not majority.model_loses
    assert svm.model_loses == (made.record.metrics["accuracy"] < svm.metrics["accuracy"])
    assert svm.difference == pytest.approx(made.record.metrics["accuracy"] - svm.metrics["accuracy"])
    assert svm.difference_interval is not None
    assert svm.difference_interval.low <= svm.difference <= svm.difference_interval.high
    assert svm.trained_rows == 600
    assert not svm.sampled


def test_the_threshold_is_calibrated_on_eval_and_reported_on_test(made: Made) -> None:
    threshold = made.details.threshold
    assert threshold is not None
    assert threshold.calibrated_on == "eval"
    assert made.record.metrics["coverage"] == threshold.coverage
    assert threshold.curve[0][1] == 1.0
    assert made.record.settings == {"threshold": threshold.value}


def test_sureness_is_kept_with_the_predictions_and_the_threshold_may_be_of_it(made: Made, tmp_path: Path) -> None:
    model = toy.write_model(tmp_path / "model", made.dataset, toy.rows(600), tells_sureness=True)
    store = Store.open((tmp_path / "store").as_uri())
    record = measure(model, made.dataset, SPEC, store=store, folder=tmp_path)
    assert record.columns == ["probabilities", "sureness"]
    kept = pl.read_parquet(tmp_path / "predictions.parquet")
    columns = read_columns(kept, record.columns)
    told = ModelSession.open(model, tmp_path / "model").predict(made.test["text"].to_list())
    np.testing.assert_allclose(columns["sureness"], told["sureness"], atol=1e-6)
    assert (kept["sureness"] < kept["probability"] - 0.1).any()
    threshold = Details.model_validate(record.details).threshold
    assert threshold is not None
    assert record.settings == {"threshold": {"sureness": threshold.value}}
    assert record.metrics["covered_accuracy"] == threshold.accuracy
    assert record.metrics["accuracy"] == made.record.metrics["accuracy"]
    assert "by sureness" in evaluation_report(record, TASK, reader(record)).render()


def test_the_same_evaluation_again_writes_the_same_place(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(made.root / "home"))
    again = measure(made.model, made.dataset, SPEC, store=made.store, folder=tmp_path)
    assert again.model_copy(update={"created_at": ""}) == made.record.model_copy(update={"created_at": ""})


def test_a_sample_of_the_training_rows_is_said_so(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(made.root / "home"))
    spec = EvaluationSpec(baselines=["linear_svm"], baseline_rows=100, bootstrap=0)
    record = measure(made.model, made.dataset, spec, store=made.store, folder=tmp_path)
    assert [(b.name, b.trained_rows, b.sampled) for b in record.baselines] == [("linear_svm", 100, True)]
    assert record.intervals == {}


def test_a_slice_of_a_column_that_is_not_there_names_those_that_are(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(made.root / "home"))
    with pytest.raises(InvalidSpec, match=r"no column 'sauce'.*did you mean 'source'"):
        measure(made.model, made.dataset, EvaluationSpec(slices=["sauce"]), store=made.store, folder=tmp_path)


def test_a_split_without_rows_and_a_damaged_row_file_are_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(made.root / "home"))
    splits = {**made.dataset.splits, "test": made.dataset.splits["test"].model_copy(update={"rows": 0})}
    empty = made.dataset.model_copy(update={"splits": splits})
    with pytest.raises(InvalidData, match="split 'test' has no rows"):
        measure(made.model, empty, EvaluationSpec(), store=made.store, folder=tmp_path)
    part = made.dataset.splits["test"]
    wrong = part.row_files[0].model_copy(update={"sha256": "0" * 64})
    damaged = part.model_copy(update={"row_files": [wrong, *part.row_files[1:]]})
    with pytest.raises(CorruptArtifact, match=r"sha256"):
        measure(
            made.model,
            made.dataset.model_copy(update={"splits": {**made.dataset.splits, "test": damaged}}),
            EvaluationSpec(),
            store=made.store,
            folder=tmp_path,
        )


def test_a_report_of_150_classes_stays_below_a_megabyte_and_shows_what_matters(made: Made) -> None:
    labels = [f"a rather long label of class number {i}" for i in range(150)]
    random = np.random.default_rng(0)
    counts = random.integers(0, 3, (150, 150)) + np.diag(np.full(150, 40))
    example = made.details.worst_confusions[0].model_copy(
        update={"examples": [{"preview": "x" * 500, "probability": 0.5}]}
    )
    details = made.details.model_copy(
        update={
            "unknown_labels": {},
            "worst_confusions": [example] * 20,
            "per_class": [made.details.per_class[0].model_copy(update={"label": label}) for label in labels],
        }
    )
    record = made.record.model_copy(update={"labels": labels, "details": details.model_dump(mode="json")})
    matrix = json.dumps({"labels": labels, "counts": counts.tolist()}).encode()
    html = evaluation_report(record, TASK, lambda name: matrix).render()
    assert len(html.encode()) < 1_000_000
    assert "Left out" not in html


def test_the_report_says_what_the_model_loses_to_and_escapes_what_users_wrote(made: Made) -> None:
    losing = [b.model_copy(update={"model_loses": True}) for b in made.record.baselines]
    odd = made.details.worst_confusions[0].model_copy(
        update={"examples": [{"preview": "<script>alert(1)</script>", "probability": 0.5}]}
    )
    details = made.details.model_copy(update={"worst_confusions": [odd]}).model_dump(mode="json")
    record = made.record.model_copy(update={"baselines": losing, "details": details})
    html = evaluation_report(record, TASK, reader(record)).render()
    assert "The model loses to: most frequent label, linear SVM" in html
    assert "<script>alert(1)" not in html
    assert "intent_x (3)" in html
