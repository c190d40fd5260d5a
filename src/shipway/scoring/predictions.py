"""Predictions by row, kept as Parquet; written a piece at a time, so that a test set may be larger than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.errors import InvalidData, InvalidSpec
from shipway.inputs import BadRequest
from shipway.recipes.arrays import Columns, Ragged
from shipway.scoring.rows import CHUNK_ROWS, bearable_rows
from shipway.scoring.session import ModelSession


@dataclass(frozen=True)
class Predicted:
    """What came of scoring rows.

    Attributes:
        rows: label, group_hash and what the task says of each prediction (`Evaluation.frame`): all that metrics need.
        columns: Names of the predictions' own parts in the file, for `read_columns`.
    """

    rows: pl.DataFrame
    columns: list[str]


def predict_rows(
    session: ModelSession, frames: Iterable[pl.DataFrame], path: Path, *, batch_size: int = 256
) -> Predicted:
    """Scores rows and keeps what the model said of each.

    Args:
        session: The model.
        frames: As `read_rows` gives them; at least one.
        path: Parquet file to write: the frames' columns, preview, the predictions' own parts (an array or list a row)
            and the columns of `Evaluation.frame`.
        batch_size: Rows in one inference.

    Raises:
        InvalidSpec: a slice's column has the name of one that is added here.
    """
    narrow: list[pl.DataFrame] = []
    columns: list[str] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shipway-predictions-", dir=path.parent) as folder:
        for number, frame in enumerate(frames):
            answers, described = _answers(session, frame, batch_size)
            columns = list(answers)
            others = [series for series in described if series.name not in answers]  # a number may be both
            added = [session.kind.preview(frame).alias("preview"), *to_series(answers), *others]
            _check_names(frame, [series.name for series in added])
            frame.hstack(added).write_parquet(Path(folder) / f"{number:06d}.parquet")
            narrow.append(frame.select("label", "group_hash").hstack(described))
        parts = sorted(Path(folder).glob("*.parquet"))
        at_once = bearable_rows(sum(map(len, narrow)), sum(part.stat().st_size for part in parts))
        # Readers take whole groups of rows into memory.
        pl.scan_parquet(parts, glob=False).sink_parquet(path, row_group_size=at_once if at_once < CHUNK_ROWS else None)
    return Predicted(pl.concat(narrow), columns)


def describe_rows(session: ModelSession, frame: pl.DataFrame, *, batch_size: int = 256) -> pl.DataFrame:
    """label, group_hash and what the task says of each prediction; nothing is kept."""
    return frame.select("label", "group_hash").hstack(_answers(session, frame, batch_size)[1])


def to_series(columns: Columns) -> list[pl.Series]:
    """A series for each part of predictions: arrays of one shape as Polars' Array, rows of their own length as List."""
    return [
        _ragged(name, value) if isinstance(value, Ragged) else _even(name, value) for name, value in columns.items()
    ]


def read_columns(rows: pl.DataFrame, names: Sequence[str]) -> Columns:
    """The predictions of kept rows, as `Answers.decode` had given them.

    Args:
        rows: Of `predictions.parquet`, at least the columns of `names`.
        names: `EvaluationRecord.columns`.
    """
    return {name: _read(rows[name]) for name in names}


def _answers(session: ModelSession, frame: pl.DataFrame, batch_size: int) -> tuple[Columns, pl.DataFrame]:
    """The predictions, and what the task says of each beside its truth."""
    try:
        answers = session.predict(session.kind.values(frame), batch_size=batch_size)
    except BadRequest as error:
        raise InvalidData(error, field="rows of the dataset", fix="prepare it again without that row") from error
    return answers, session.task.evaluation.frame(session.labels, answers, frame["label"])


def _check_names(frame: pl.DataFrame, added: Sequence[str]) -> None:
    for name in added:
        if name in frame.columns:
            raise InvalidSpec(
                f"{name!r} is the name of a column that predictions are kept in",
                field="evaluation.slices",
                given=name,
                fix="rename yours in the source",
            )


def _even(name: str, value: NDArray[np.generic]) -> pl.Series:
    if value.ndim == 1:
        return pl.Series(name, value.tolist() if value.dtype == object else value)
    if value.dtype == object:
        return pl.Series(name, value.tolist(), dtype=pl.Array(pl.String, value.shape[1:]))
    return pl.Series(name, np.ascontiguousarray(value))


def _ragged(name: str, value: Ragged) -> pl.Series:
    inner = pl.Series(value.values[:0]).dtype
    return pl.Series(name, [value.row(i).tolist() for i in range(len(value))], dtype=pl.List(inner))


def _read(series: pl.Series) -> NDArray[np.generic] | Ragged:
    if isinstance(series.dtype, pl.List):
        lengths = series.list.len().to_numpy().astype(np.int64)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        return Ragged(series.explode(empty_as_null=False).to_numpy(), offsets)
    return series.to_numpy()
