"""What a model has to beat: the task's baselines, fitted on the training split, scored on the model's own rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from shipway import measuring
from shipway.artifacts import BaselineMetrics, DatasetManifest, Interval
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.scoring import ModelSession
from shipway.scoring.rows import input_columns, read_frames, read_rows
from shipway.tasks import classes_in, primary
from shipway.tasks.evaluated import Baseline

TRAINING_BYTES = 512 << 20  # of rows that baselines are fitted on: all are in memory at once


@dataclass(frozen=True)
class Beside:
    """The model that baselines stand beside.

    Attributes:
        rows: label, group_hash and what the task says of each prediction.
        kept: The scored rows as Parquet, with the input's columns.
    """

    session: ModelSession
    dataset: DatasetManifest
    spec: EvaluationSpec
    rows: pl.DataFrame
    kept: Path


def measure_baselines(beside: Beside, names: Sequence[str]) -> list[BaselineMetrics]:
    """The figures of each baseline that applies, and how far the model is ahead of it on the same rows."""
    train, spec, kind = beside.dataset.splits["train"], beside.spec, beside.session.kind
    if not names or not train.rows:
        return []
    columns = [*input_columns(beside.dataset, kind), "label"]
    frames = read_rows(beside.dataset, "train", kind)
    bearable = TRAINING_BYTES * train.rows // max(sum(file.size_bytes for file in train.row_files), 1)
    limit = max(min(spec.baseline_rows, bearable), 1)
    rows, sampled = sample_rows(frames, columns, train.rows, limit, spec.seed)
    fitted = (beside.session.task.evaluation.fit_baseline(name, kind, rows, spec.seed) for name in names)
    known = {*classes_in(beside.session.task, rows["label"]), *beside.dataset.labels, *train.class_counts}
    return [_measured(beside, one, columns, known, len(rows), sampled) for one in fitted if one is not None]


def sample_rows(
    frames: Iterable[pl.DataFrame], columns: Sequence[str], rows: int, limit: int, seed: int
) -> tuple[pl.DataFrame, bool]:
    """All training rows, or a random `limit` of them; never more than a little above `limit` in memory.

    Args:
        frames: The training split's rows.
        columns: Wanted.
        rows: How many there are.
        limit: How many may be taken.
        seed: Of the choice.

    Returns:
        The rows, and whether some were left out.
    """
    if rows <= limit:
        return pl.concat([frame.select(columns) for frame in frames]), False
    random = np.random.default_rng(seed)
    taken = np.sort(random.choice(rows, size=limit, replace=False))
    parts, start = [], 0
    for frame in frames:
        inside = taken[(taken >= start) & (taken < start + len(frame))] - start
        parts.append(frame.select(columns)[inside])
        start += len(frame)
    return pl.concat(parts), True


def _measured(
    beside: Beside, baseline: Baseline, columns: Sequence[str], known: set[str], trained_rows: int, sampled: bool
) -> BaselineMetrics:
    task, spec = beside.session.task, beside.spec
    labels = beside.rows["label"]
    classes = sorted({*known, *beside.session.labels, *classes_in(task, labels)})
    answers = baseline.predict(read_frames(beside.kept, columns)).with_columns(labels)
    ours, theirs = (task.evaluation.statistics(rows, classes) for rows in (beside.rows, answers))
    metrics = measuring.figures(theirs, task.evaluation.metrics)
    name = primary(task)
    difference = measuring.figures(ours, task.evaluation.metrics)[name] - metrics[name]
    between = None
    if spec.bootstrap:
        low, high = measuring.difference_intervals(
            theirs, ours, measuring.group_numbers(beside.rows["group_hash"]), task.evaluation.metrics,
            resamples=spec.bootstrap, level=spec.level, seed=spec.seed,
        )[name]  # fmt: skip
        between = Interval(low=low, high=high, level=spec.level)
    return BaselineMetrics(
        name=baseline.name,
        title=task.evaluation.baselines[baseline.name],
        metrics=metrics,
        trained_rows=trained_rows,
        sampled=sampled,
        model_loses=difference > 0 if task.metrics[name].lower_is_better else difference < 0,
        difference=difference,
        difference_interval=between,
    )
