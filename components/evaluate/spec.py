"""`EvaluationSpec`: what `evaluate.classifier` measures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shipway.specs import Spec

Baseline = Literal["majority", "linear_svm"]
BASELINES: tuple[Baseline, ...] = ("majority", "linear_svm")

# Names of an EvaluationRecord's metrics; a policy's thresholds are checked against them.
METRICS = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "log_loss",
    "ece",
    "coverage",
    "covered_accuracy",
    "unknown_label_rate",
    "accuracy_all_rows",
)
WITH_INTERVAL = ("accuracy", "macro_f1", "weighted_f1")
LOWER_IS_BETTER = ("log_loss", "ece", "unknown_label_rate")
UNBOUNDED = ("log_loss",)  # all others are shares


class ThresholdRule(Spec):
    """How the out-of-scope threshold is found on the eval split; an answer below it is "none of these"."""

    coverage: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Share of the rightly answered rows that must stay at or above the threshold (the true acceptance rate)."""
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Raises the threshold further, until the rows at or above it are answered this well."""


class EvaluationSpec(Spec):
    """What is measured, and on which rows."""

    split: Literal["train", "eval", "test"] = "test"
    slices: list[str] = Field(default_factory=list)
    """Columns of the rows; each of their values is measured by itself."""
    max_slice_values: Annotated[int, Field(ge=1, le=1000)] = 20
    """Values of a column that are measured: those with the most rows."""
    baselines: list[Baseline] = Field(default_factory=lambda: list(BASELINES))
    baseline_rows: Annotated[int, Field(ge=1, le=200_000)] = 200_000
    """The linear SVM is fitted on at most this many training rows, a sample by row hash otherwise."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Resamples of the confidence intervals, drawn over groups; 0 leaves the intervals out."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the confidence intervals."""
    calibration_bins: Annotated[int, Field(ge=2, le=100)] = 15
    threshold: ThresholdRule = Field(default_factory=ThresholdRule)
    confusions: Annotated[int, Field(ge=0, le=200)] = 20
    """Confused pairs that are kept, with example rows."""
    examples: Annotated[int, Field(ge=0, le=20)] = 3
    batch_size: Annotated[int, Field(ge=1, le=8192)] = 256
    """Rows in one inference."""
    seed: int = 0
    recipes: list[str] = Field(default_factory=list)
    """Recipes besides the shipped ones that the model's manifest may name; `plan` puts the run's own here."""
