"""What a regression's evaluation is asked for, what it keeps, and what a policy may ask of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shipway.artifacts import Record
from shipway.specs import Spec


class Params(Spec):
    """Section `evaluation.task`."""

    bins: Annotated[int, Field(ge=2, le=100)] = 30
    """Of the histogram of errors."""
    points: Annotated[int, Field(ge=2, le=2000)] = 500
    """Rows in the chart of predicted against true."""
    worst: Annotated[int, Field(ge=0, le=200)] = 20
    """Rows that are shown as the worst."""


class Within(Spec):
    """Rows that must be near the truth."""

    error: Annotated[float, Field(ge=0)]
    """How far an answer may be off."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Of the rows, at least."""


class Rules(Spec):
    """Section `promotion.task`."""

    mean_error: Annotated[float, Field(ge=0)] | None = None
    """How far the mean error may be from 0, either way."""
    within: list[Within] = Field(default_factory=list)


class Row(Record):
    """One row's truth and answer."""

    preview: str
    true: float
    predicted: float

    @property
    def error(self) -> float:
        """Above 0: the answer is too high."""
        return self.predicted - self.true


class Details(Record):
    """`EvaluationRecord.details` of a regression."""

    truth: list[float]  # the lowest and the highest label
    quantiles: list[list[float]]  # [share of the rows, how far these are off at most]
    edges: list[float]  # of the histogram of errors
    counts: list[int]
    points: list[list[float]]  # [true, predicted] of rows at even steps of the truth
    worst: list[Row]
