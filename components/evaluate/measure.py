"""A model's figures on one split: scores the rows, then puts core's functions together into an `EvaluationRecord`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shipway.artifacts import (
    BaselineMetrics,
    ClassMetrics,
    Confusion,
    DatasetManifest,
    EvaluationRecord,
    Interval,
    ModelManifest,
    SliceMetrics,
    Threshold,
)
from shipway.canonical import fingerprint
from shipway.components.evaluate import core
from shipway.components.evaluate import threshold as out_of_scope
from shipway.components.evaluate.baselines import Baseline, fit_linear_svm, fit_majority, sample_rows
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.scoring import ModelSession
from shipway.scoring.predictions import predict_rows
from shipway.scoring.rows import CHUNK_ROWS, read_rows
from shipway.storage import Store

PREDICTIONS = "predictions.parquet"
CONFUSION = "confusion.json"


@dataclass(frozen=True)
class Scored:
    """What every metric is made from.

    Attributes:
        labels: The model's labels, then, sorted, those that only the rows have.
        known: How many of them the model knows.
        truth, predicted: Class ids by row.
        confidence: Probability of the predicted label by row.
        label_probability: Probability of the true label by row.
        groups: Equal within a group.
    """

    labels: list[str]
    known: int
    truth: core.Ints
    predicted: core.Ints
    confidence: Any
    label_probability: Any
    groups: core.Ints

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, known: list[str]) -> Scored:
        """From the narrow columns of predictions."""
        labels = [*known, *sorted(set(frame["label"].unique()) - set(known))]
        ids = {label: i for i, label in enumerate(labels)}

        def coded(column: str) -> core.Ints:
            return frame[column].replace_strict(ids, return_dtype=pl.Int64).to_numpy()

        return cls(
            labels=labels,
            known=len(known),
            truth=coded("label"),
            predicted=coded("predicted"),
            confidence=frame["probability"].to_numpy(),
            label_probability=frame["label_probability"].to_numpy(),
            groups=frame["group_hash"].to_numpy().view(np.int64),
        )

    @property
    def right(self) -> Any:
        return self.truth == self.predicted


@dataclass(frozen=True)
class Measured:
    """The record, and what its report shows beyond it."""

    record: EvaluationRecord
    counts: core.Ints
    calibration: core.Calibration


def evaluation_id(model: ModelManifest, dataset: DatasetManifest, spec: EvaluationSpec) -> str:
    """Equal for an equal evaluation, which then writes the same files again."""
    document = {"model": model.digest, "dataset": dataset.fingerprint, "spec": spec.model_dump(mode="json")}
    return f"{model.name}-{fingerprint(document)}"


def measure(
    model: ModelManifest, dataset: DatasetManifest, spec: EvaluationSpec, *, store: Store, folder: Path
) -> Measured:
    """Scores a model and publishes predictions, confusion matrix and record, the record last.

    Args:
        model: The model.
        dataset: Where the rows are.
        spec: What to measure.
        store: Gets `evaluations/<id>/`.
        folder: Scratch space for the predictions.

    Raises:
        InvalidData: the split has no rows.
        InvalidSpec: a slice's column does not exist.
        CorruptArtifact: model or rows differ from their manifests.
    """
    session = ModelSession.open(model, recipes=spec.recipes)
    left_out = dataset.splits[spec.split].left_out if spec.split in dataset.splits else {}
    path = folder / PREDICTIONS
    frames = read_rows(dataset, spec.split, columns=spec.slices)
    scored = Scored.from_frame(predict_rows(session, frames, path, batch_size=spec.batch_size), session.labels)
    counts = core.confusion_matrix(scored.truth, scored.predicted, len(scored.labels))
    calibrated = core.calibration(scored.confidence, scored.right, spec.calibration_bins)
    threshold = _threshold(session, dataset, spec, scored)
    metrics = {
        **core.averages(counts),
        "log_loss": core.log_loss(scored.label_probability),
        "ece": calibrated.ece,
        **core.with_left_out(scored.right, scored.truth >= scored.known, sum(left_out.values())),
    }
    if threshold is not None:
        metrics |= {"coverage": threshold.coverage, "covered_accuracy": threshold.accuracy}
    (folder / CONFUSION).write_text(json.dumps({"labels": scored.labels, "counts": counts.tolist()}), encoding="utf-8")
    prefix = f"evaluations/{evaluation_id(model, dataset, spec)}"
    files = store.upload_many([(folder / name, f"{prefix}/{name}") for name in (PREDICTIONS, CONFUSION)])
    predictions, confusion = (
        file.model_copy(update={"path": name}) for file, name in zip(files, (PREDICTIONS, CONFUSION), strict=True)
    )
    unknown = {scored.labels[i]: int(counts[i].sum()) for i in range(scored.known, len(scored.labels))}
    record = EvaluationRecord(
        name=model.name,
        uri=f"{store.uri}/{prefix}",
        split=spec.split,
        rows=len(scored.truth),
        groups=len(np.unique(scored.groups)),
        metrics=metrics,
        intervals=_intervals(scored, spec),
        per_class=_per_class(scored.labels, counts),
        labels=session.labels,
        confusion=confusion,
        worst_confusions=_confusions(path, scored.labels, counts, spec),
        threshold=threshold,
        baselines=_baselines(path, dataset, spec, scored),
        slices=[line for column in spec.slices for line in _slices(path, column, scored.labels, spec)],
        predictions=predictions,
        unknown_label_rows=sum(unknown.values()),
        unknown_labels=unknown,
        left_out=left_out,
        calibration_bins=calibrated.bins,
        model_uri=model.uri,
        model_digest=model.digest,
        dataset_uri=dataset.uri,
        dataset_fingerprint=dataset.fingerprint,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    store.put(f"{prefix}/record.json", record.to_json().encode())
    return Measured(record, counts, calibrated)


def _threshold(
    session: ModelSession, dataset: DatasetManifest, spec: EvaluationSpec, scored: Scored
) -> Threshold | None:
    """Calibrated on the eval split, reported on the scored one; None where there are no eval rows."""
    part = dataset.splits.get("eval")
    if part is None or not part.rows:
        return None
    if spec.split == "eval":
        confidence, right = scored.confidence, scored.right
    else:
        confidence, right = _confidence(session, dataset, spec)
    value = out_of_scope.calibrate(confidence, right, spec.threshold)
    coverage, accuracy = out_of_scope.coverage_at(scored.confidence, scored.right, value)
    calibration_coverage, calibration_accuracy = out_of_scope.coverage_at(confidence, right, value)
    return Threshold(
        value=value,
        coverage=coverage,
        accuracy=accuracy,
        curve=out_of_scope.curve(scored.confidence, scored.right),
        calibrated_on="eval",
        calibration_coverage=calibration_coverage,
        calibration_accuracy=calibration_accuracy,
    )


def _confidence(session: ModelSession, dataset: DatasetManifest, spec: EvaluationSpec) -> tuple[Any, Any]:
    """Top probability and whether it is right, by eval row."""
    names = np.array(session.labels, dtype=object)
    tops, rights = [], []
    for frame in read_rows(dataset, "eval"):
        probabilities = session.predict(frame["text"].to_list(), batch_size=spec.batch_size)
        best = probabilities.argmax(axis=1)
        tops.append(probabilities[np.arange(len(best)), best])
        rights.append(names[best] == frame["label"].to_numpy())
    return np.concatenate(tops), np.concatenate(rights).astype(bool)


def _intervals(scored: Scored, spec: EvaluationSpec) -> dict[str, Interval]:
    if not spec.bootstrap:
        return {}
    found = core.bootstrap(
        scored.truth, scored.predicted, scored.groups, len(scored.labels),
        resamples=spec.bootstrap, level=spec.level, seed=spec.seed,
    )  # fmt: skip
    return {name: Interval(low=low, high=high, level=spec.level) for name, (low, high) in found.items()}


def _per_class(labels: list[str], counts: core.Ints) -> list[ClassMetrics]:
    scores = core.class_scores(counts)
    return [
        ClassMetrics(label=label, precision=p, recall=r, f1=f, support=s)
        for label, p, r, f, s in zip(
            labels,
            scores.precision.tolist(),
            scores.recall.tolist(),
            scores.f1.tolist(),
            scores.support.tolist(),
            strict=True,
        )
    ]


def _confusions(path: Path, labels: list[str], counts: core.Ints, spec: EvaluationSpec) -> list[Confusion]:
    """The worst pairs, each with the rows that the model was surest of."""
    pairs = [(labels[i], labels[j], n) for i, j, n in core.worst_confusions(counts, spec.confusions)]
    wanted = pl.LazyFrame({"label": [p[0] for p in pairs], "predicted": [p[1] for p in pairs]}, schema_overrides={
        "label": pl.String, "predicted": pl.String
    })  # fmt: skip
    rows = (
        pl.scan_parquet(path, glob=False)
        .select("row_id", "label", "predicted", "probability", "text")
        .join(wanted, on=["label", "predicted"], how="semi")
        .sort("probability", "row_id", descending=[True, False])
        .group_by("label", "predicted", maintain_order=True)
        .head(spec.examples)
        .collect()
    )
    examples: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in rows.iter_rows(named=True):
        examples.setdefault((row["label"], row["predicted"]), []).append(
            {"text": row["text"][:500], "probability": round(float(row["probability"]), 4)}
        )
    return [Confusion(label=a, predicted=b, count=n, examples=examples.get((a, b), [])) for a, b, n in pairs]


def _slices(path: Path, column: str, labels: list[str], spec: EvaluationSpec) -> Iterator[SliceMetrics]:
    """The column's most frequent values, each measured by itself."""
    ids = {label: i for i, label in enumerate(labels)}
    cells = pl.scan_parquet(path, glob=False).select(
        pl.col("label").alias("__label"), pl.col("predicted").alias("__predicted"), pl.col(column).alias("__value")
    ).group_by("__value", "__label", "__predicted").len().collect()  # fmt: skip
    totals = cells.group_by("__value").agg(pl.col("len").sum()).sort("len", "__value", descending=[True, False])
    for value, rows in totals.head(spec.max_slice_values).iter_rows():
        counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
        for label, predicted, n in cells.filter(pl.col("__value") == value).drop("__value").iter_rows():
            counts[ids[label], ids[predicted]] = n
        found = core.averages(counts)
        yield SliceMetrics(
            column=column, value=value, rows=rows, accuracy=found["accuracy"], macro_f1=found["macro_f1"]
        )


def _baselines(path: Path, dataset: DatasetManifest, spec: EvaluationSpec, scored: Scored) -> list[BaselineMetrics]:
    """Fitted on the training split, scored on the same rows as the model."""
    train = dataset.splits["train"]
    labels = sorted({*scored.labels, *dataset.labels, *train.class_counts})
    fitted = []
    if "majority" in spec.baselines and train.class_counts:
        fitted.append(fit_majority(train.class_counts))
    if "linear_svm" in spec.baselines and len([n for n in train.class_counts.values() if n]) > 1:
        rows, sampled = sample_rows(read_rows(dataset, "train"), train.rows, spec.baseline_rows, spec.seed)
        fitted.append(fit_linear_svm(rows, sampled=sampled, seed=spec.seed))
    return [_beside(baseline, path, labels, scored, spec) for baseline in fitted]


def _beside(baseline: Baseline, path: Path, labels: list[str], scored: Scored, spec: EvaluationSpec) -> BaselineMetrics:
    """A baseline's figures, and how far the model is ahead of it on the same rows."""
    place = {label: i for i, label in enumerate(labels)}
    renumbered = np.array([place[label] for label in scored.labels], dtype=np.int64)
    truth, ours = renumbered[scored.truth], renumbered[scored.predicted]
    theirs = baseline.predict(_scored_rows(path, len(truth)), labels)
    found = baseline.measured(core.confusion_matrix(truth, theirs, len(labels)))
    ahead = float((ours == truth).mean() - (theirs == truth).mean())
    between = None
    if spec.bootstrap:
        low, high = core.bootstrap_difference(
            truth, theirs, ours, scored.groups, len(labels),
            resamples=spec.bootstrap, level=spec.level, seed=spec.seed,
        )["accuracy"]  # fmt: skip
        between = Interval(low=low, high=high, level=spec.level)
    return found.model_copy(update={"model_loses": ahead < 0, "difference": ahead, "difference_interval": between})


def _scored_rows(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    for offset in range(0, rows, CHUNK_ROWS):
        yield pl.scan_parquet(path, glob=False).select("text", "label").slice(offset, CHUNK_ROWS).collect()
