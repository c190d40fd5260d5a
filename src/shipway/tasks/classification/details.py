"""What a classifier's evaluation is asked for, what it keeps, and what a policy may ask of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shipway.artifacts import Record
from shipway.specs import Spec
from shipway.tasks.classification.threshold import ThresholdRule

Share = Annotated[float, Field(ge=0, le=1)]


class Params(Spec):
    """Section `evaluation.task`."""

    calibration_bins: Annotated[int, Field(ge=2, le=100)] = 15
    threshold: ThresholdRule = Field(default_factory=ThresholdRule)
    confusions: Annotated[int, Field(ge=0, le=200)] = 20
    """Confused pairs that are kept, with example rows."""
    examples: Annotated[int, Field(ge=0, le=20)] = 3


class ClassFloors(Spec):
    """What every class must reach."""

    recall: Share | None = None
    precision: Share | None = None
    min_support: Annotated[int, Field(ge=1)] = 10
    """Classes with fewer test rows are not judged: a handful of rows says little."""
    labels: dict[str, Share] = Field(default_factory=dict)
    """Recall of single classes, in place of `recall`; judged whatever their support."""


class ForbiddenConfusion(Spec):
    """Rows of `label` that must not be answered `predicted`."""

    label: str
    predicted: str
    max_count: Annotated[int, Field(ge=0)] | None = None
    max_rate: Share | None = None
    """Of the label's test rows."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max_count is None and self.max_rate is None:
            self.max_count = 0
        return self


class Rules(Spec):
    """Section `promotion.task`."""

    class_floors: ClassFloors = Field(default_factory=ClassFloors)
    forbidden_confusions: list[ForbiddenConfusion] = Field(default_factory=list)


class ClassMetrics(Record):
    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Threshold(Record):
    """Out-of-scope threshold on the top probability or the sureness, calibrated on the eval split."""

    value: float
    of: Literal["probability", "sureness"] = "probability"
    coverage: float  # share of the split's rows at or above it
    accuracy: float  # accuracy on those rows
    curve: list[list[float]] = Field(default_factory=list)  # [threshold, coverage, accuracy]
    calibrated_on: str = "eval"
    calibration_coverage: float | None = None  # on the split that it was calibrated on
    calibration_accuracy: float | None = None
    other: Threshold | None = None  # on the number that is not used, of a model that tells both


class Confusion(Record):
    """One confused pair with example rows (preview, probability)."""

    label: str
    predicted: str
    count: int
    examples: list[dict[str, object]] = Field(default_factory=list)


class Details(Record):
    """`EvaluationRecord.details` of a classifier."""

    per_class: list[ClassMetrics] = Field(default_factory=list)
    worst_confusions: list[Confusion] = Field(default_factory=list)
    threshold: Threshold | None = None
    unknown_labels: dict[str, int] = Field(default_factory=dict)  # that the model never saw, sorted -> rows: all errors
    calibration_bins: list[list[float]] = Field(default_factory=list)  # [low, high, rows, mean confidence, accuracy]
