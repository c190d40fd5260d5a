"""What an evaluation hands to its task, and gets back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import polars as pl

Read = Callable[[str], bytes]  # name of a file beside an evaluation's record -> its verified bytes


@dataclass(frozen=True)
class ScoredSplit:
    """A scored split.

    Attributes:
        labels: The model's classes.
        classes: Those and, behind them and sorted, classes that only the rows have.
        split: `train`, `eval` or `test`.
        rows: `label`, `group_hash` and the columns of `Evaluation.frame`, all rows.
        kept: The same as Parquet, with `row_id`, `preview`, the prediction's own columns and those of slices.
        left_out: Classes without training rows -> rows that prep set aside: in no other figure.
        calibration: Gives `rows` of the eval split; None where that has none.
        folder: Where files may be written that are kept beside the record.
    """

    labels: list[str]
    classes: list[str]
    split: str
    rows: pl.DataFrame
    kept: Path
    left_out: dict[str, int]
    calibration: Callable[[], pl.DataFrame | None]
    folder: Path


@dataclass(frozen=True)
class Evaluated:
    """What a task measured beyond sums over rows.

    Attributes:
        metrics: By names of `Task.metrics`.
        details: JSON, kept in the record: what the task's rules, page and endpoint need.
        files: Names of files in the folder that are kept beside the record.
        with_left_out: What the figures are with the rows that were left out, in a few words; empty: nothing to say.
    """

    metrics: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    with_left_out: str = ""


class Baseline(Protocol):
    """A simple model, fitted on training rows.

    Attributes:
        name: One of `Evaluation.baselines`.
    """

    name: str

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Columns of `Evaluation.frame` that `statistics` needs, a row for each row of frames with the input's columns
        and `label`."""
        ...
