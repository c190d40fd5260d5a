"""A model's figures on one split: scores the rows, asks the task what they say, and keeps all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from shipway import measuring, step_progress
from shipway.artifacts import (
    DatasetManifest,
    EvaluationRecord,
    FileRef,
    Interval,
    MetricInfo,
    ModelManifest,
    SliceMetrics,
)
from shipway.canonical import fingerprint
from shipway.components.evaluate.baselines import Beside, measure_baselines
from shipway.components.evaluate.spec import EvaluationSpec, check_evaluation
from shipway.errors import ShipwayError
from shipway.inputs.base import ShowsColumns, StandsFor
from shipway.scoring import ModelSession
from shipway.scoring.predictions import Predicted, describe_rows, predict_rows
from shipway.scoring.rows import input_columns, read_frames, read_rows
from shipway.storage import Store
from shipway.tasks import Task, classes_in
from shipway.tasks.evaluated import ScoredSplit

PREDICTIONS = "predictions.parquet"
FRAME_ROWS = 2_048
_EXAMPLE_CHARACTERS = (8, 60)


def evaluation_id(model: ModelManifest, dataset: DatasetManifest, spec: EvaluationSpec) -> str:
    """Equal for an equal evaluation, which then writes the same files again."""
    document = {
        "model": model.digest, "variant": model.served.digest, "dataset": dataset.fingerprint,
        "spec": spec.model_dump(mode="json"),
    }  # fmt: skip
    return f"{model.name}-{fingerprint(document)}"


def measure(
    model: ModelManifest, dataset: DatasetManifest, spec: EvaluationSpec, *, store: Store, folder: Path
) -> EvaluationRecord:
    """Scores a model and publishes predictions, the task's files and the record, the record last.

    Args:
        model: The model.
        dataset: Where the rows are.
        spec: What to measure.
        store: Gets `evaluations/<id>/`.
        folder: Scratch space for the files.

    Raises:
        InvalidData: the split has no rows.
        InvalidSpec: a slice's column does not exist, or the task refuses its settings.
        CorruptArtifact: model or rows differ from their manifests.
    """
    session = ModelSession.open(model, recipes=spec.recipes)
    task = session.task
    baselines, params = check_evaluation(spec, task)
    frames = _counted(session, dataset, spec)
    predicted = predict_rows(session, frames, folder / PREDICTIONS, batch_size=spec.batch_size)
    rows = predicted.rows
    classes = [*session.labels, *sorted(classes_in(task, rows["label"]) - set(session.labels))]
    statistics = task.evaluation.statistics(rows, classes)
    scored = _found(session, dataset, spec, predicted, classes, folder)
    evaluated = task.evaluation.measure(scored, params)
    metrics = {**measuring.figures(statistics, task.evaluation.metrics), **evaluated.metrics}
    beside = Beside(session, dataset, spec, rows, folder / PREDICTIONS)
    prefix = f"evaluations/{evaluation_id(model, dataset, spec)}"
    files = _upload(store, prefix, folder, [PREDICTIONS, *evaluated.files])
    record = EvaluationRecord(
        name=model.name,
        uri=f"{store.uri}/{prefix}",
        task=task.name,
        split=spec.split,
        rows=len(rows),
        groups=rows["group_hash"].n_unique(),
        metrics={info.name: metrics[info.name] for info in _shown(task, metrics)},
        shown=_shown(task, metrics),
        intervals=_intervals(task, statistics, rows, spec),
        labels=session.labels,
        baselines=measure_baselines(beside, baselines),
        slices=[
            line for column in spec.slices for line in _slices(task, folder / PREDICTIONS, column, statistics, spec)
        ],
        details=evaluated.details,
        predictions=files.pop(PREDICTIONS),
        files=files,
        columns=predicted.columns,
        example=_example(session, dataset, rows, folder / PREDICTIONS),
        example_line=_example_line(session, dataset, rows, folder / PREDICTIONS),
        left_out=scored.left_out,
        with_left_out=evaluated.with_left_out if scored.left_out else "",
        model_uri=model.uri,
        model_digest=model.digest,
        variant=model.serving,
        variant_digest=model.served.digest,
        dataset_uri=dataset.uri,
        dataset_fingerprint=dataset.fingerprint,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    record = _told(task, model, record)
    _check_numbers(record)
    store.put(f"{prefix}/record.json", record.to_json().encode())
    return record


def _counted(session: ModelSession, dataset: DatasetManifest, spec: EvaluationSpec) -> Iterator[pl.DataFrame]:
    """The split's rows in frames of whole batches, few enough that it is seen how far the step is."""
    chunk_rows = max(FRAME_ROWS // spec.batch_size, 1) * spec.batch_size
    done = 0
    for frame in read_rows(dataset, spec.split, session.kind, columns=spec.slices, chunk_rows=chunk_rows):
        step_progress.tell(done, dataset.splits[spec.split].rows, "rows scored")
        yield frame
        done += len(frame)


def _found(
    session: ModelSession,
    dataset: DatasetManifest,
    spec: EvaluationSpec,
    predicted: Predicted,
    classes: list[str],
    folder: Path,
) -> ScoredSplit:
    def calibration() -> pl.DataFrame | None:
        part = dataset.splits.get("eval")
        if part is None or not part.rows:
            return None
        if spec.split == "eval":
            return predicted.rows
        frames = read_rows(dataset, "eval", session.kind)
        return pl.concat([describe_rows(session, frame, batch_size=spec.batch_size) for frame in frames])

    return ScoredSplit(
        labels=session.labels,
        classes=classes,
        split=spec.split,
        rows=predicted.rows,
        kept=folder / PREDICTIONS,
        left_out=dataset.splits[spec.split].left_out,
        calibration=calibration,
        folder=folder,
    )


def _shown(task: Task, metrics: dict[str, float]) -> list[MetricInfo]:
    """What was measured, in the task's order."""
    if unnamed := set(metrics) - set(task.metrics):
        raise ShipwayError(
            f"task {task.name}: it measures {', '.join(sorted(unnamed))}, which its `metrics` do not name"
        )
    return [
        MetricInfo(
            name=name,
            title=info.title,
            is_share=info.is_share,
            lower_is_better=info.lower_is_better,
            about=info.about,
        )
        for name, info in task.metrics.items()
        if name in metrics
    ]


def _intervals(task: Task, statistics: csr_array, rows: pl.DataFrame, spec: EvaluationSpec) -> dict[str, Interval]:
    if not spec.bootstrap:
        return {}
    by_metric = measuring.intervals(
        statistics, measuring.group_numbers(rows["group_hash"]), task.evaluation.metrics,
        resamples=spec.bootstrap, level=spec.level, seed=spec.seed,
    )  # fmt: skip
    return {name: Interval(low=low, high=high, level=spec.level) for name, (low, high) in by_metric.items()}


def _slices(task: Task, path: Path, column: str, statistics: csr_array, spec: EvaluationSpec) -> Iterator[SliceMetrics]:
    """The column's most frequent values, each measured by itself."""
    values = pl.read_parquet(path, columns=[column], glob=False)[column].cast(pl.String).alias("value")
    totals = values.value_counts().sort("count", "value", descending=[True, False]).head(spec.max_slice_values)
    numbers = {value: number for number, value in enumerate(totals["value"])}
    part = values.replace_strict(numbers, default=-1, return_dtype=pl.Int64).to_numpy()
    by_metric = measuring.figures_of_parts(statistics, part, len(totals), task.evaluation.metrics)
    for number, (value, rows) in enumerate(totals.iter_rows()):
        metrics = {name: float(figures[number]) for name, figures in by_metric.items()}
        yield SliceMetrics(column=column, value=value, rows=rows, metrics=metrics)


def _example(session: ModelSession, dataset: DatasetManifest, rows: pl.DataFrame, path: Path) -> object:
    """The instance of the short row that the model answers best, of the first rows; None where it answers none of these
    as well as half of all. What the input says where instances are too long to be shown."""
    if isinstance(session.kind, StandsFor):
        return session.kind.example
    first = next(read_frames(path, ["preview", *input_columns(dataset, session.kind)]))
    credit = session.task.evaluation.credit(rows)
    is_short = first["preview"].str.len_chars().is_between(*_EXAMPLE_CHARACTERS).to_numpy()
    short = np.flatnonzero(is_short & (credit[: len(first)] >= np.median(credit)))
    if not len(short):
        return None
    return session.kind.instance(first.row(int(short[credit[short].argmax()]), named=True))


def _example_line(session: ModelSession, dataset: DatasetManifest, rows: pl.DataFrame, path: Path) -> str:
    """What a person types for the row that the model answers best, of the first; empty where it is the instance."""
    if not isinstance(session.kind, StandsFor):
        return ""
    wanted = session.kind.shown if isinstance(session.kind, ShowsColumns) else ()
    known = pl.scan_parquet(path, glob=False).collect_schema()
    first = next(read_frames(path, ["label", *(name for name in wanted if name in known)]))
    best = int(session.task.evaluation.credit(rows)[: len(first)].argmax())
    return session.kind.example_line(dataset.source_uri, first.row(best, named=True))


def _upload(store: Store, prefix: str, folder: Path, names: list[str]) -> dict[str, FileRef]:
    """The files by name, their paths relative to the evaluation's folder."""
    files = store.upload_many([(folder / name, f"{prefix}/{name}") for name in names])
    return {name: file.model_copy(update={"path": name}) for name, file in zip(names, files, strict=True)}


def _check_numbers(record: EvaluationRecord) -> None:
    """Refuses what no bound could judge: NaN is neither above nor below anything."""
    parts: dict[str, Mapping[str, float]] = {
        "": record.metrics,
        "its lower bound of ": {name: interval.low for name, interval in record.intervals.items()},
        "its upper bound of ": {name: interval.high for name, interval in record.intervals.items()},
        **{f"baseline {baseline.name}: ": baseline.metrics for baseline in record.baselines},
        **{f"slice {part.column}={part.value}: ": part.metrics for part in record.slices},
    }
    for where, figures in parts.items():
        for name, value in figures.items():
            if not isfinite(value):
                raise ShipwayError(f"task {record.task}: {where}{name} is {value}, not a number")


def _told(task: Task, model: ModelManifest, record: EvaluationRecord) -> EvaluationRecord:
    """The record with all that the task has to say of it, and the model of itself."""
    asked = task.evaluation
    return record.model_copy(
        update={
            "headline": [*asked.headline(record), *model.headline],
            "limits": asked.limits(record),
            "facts": asked.facts(record),
            "settings": asked.settings(record),
        }
    )
