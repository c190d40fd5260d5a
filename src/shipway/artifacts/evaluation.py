"""EvaluationRecord and DecisionRecord: how good a model is, and what was decided on that."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shipway.artifacts.base import Artifact, FileRef, Record, Uri


class ClassMetrics(Record):
    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Interval(Record):
    """A bootstrap confidence interval over groups."""

    low: float
    high: float
    level: float = 0.95


class BaselineMetrics(Record):
    """A baseline on the same split: `majority` or `linear_svm`."""

    name: str
    accuracy: float
    macro_f1: float
    trained_rows: int
    sampled: bool = False  # trained on a sample of the training rows
    model_loses: bool = False  # the model's accuracy is below this baseline's
    difference: float | None = None  # the model's accuracy minus this baseline's
    difference_interval: Interval | None = None  # of it, on the same resampled groups


class Threshold(Record):
    """Out-of-scope threshold on the top probability, calibrated on the eval split."""

    value: float
    coverage: float  # share of the split's rows at or above it
    accuracy: float  # accuracy on those rows
    curve: list[list[float]] = Field(default_factory=list)  # [threshold, coverage, accuracy]
    calibrated_on: str = "eval"
    calibration_coverage: float | None = None  # on the split that it was calibrated on
    calibration_accuracy: float | None = None


class Confusion(Record):
    """One confused pair with example rows (text, probability)."""

    label: str
    predicted: str
    count: int
    examples: list[dict[str, object]] = Field(default_factory=list)


class SliceMetrics(Record):
    column: str
    value: str
    rows: int
    accuracy: float
    macro_f1: float


class EvaluationRecord(Artifact):
    """A model's score on one split of a dataset.

    `metrics` keys: accuracy, macro_f1, weighted_f1, log_loss, ece; coverage and covered_accuracy where there is a
    threshold; unknown_label_rate and accuracy_all_rows, which count rows that prep left out, as wrong answers.
    """

    KIND: ClassVar[str] = "EvaluationRecord"
    SEALED: ClassVar[bool] = True

    name: str
    uri: Uri  # folder of predictions.parquet and confusion.json
    split: str
    rows: int
    groups: int
    metrics: dict[str, float]
    intervals: dict[str, Interval] = Field(default_factory=dict)
    per_class: list[ClassMetrics] = Field(default_factory=list)
    labels: list[str]  # the model's; a column of `probabilities` each
    confusion: FileRef  # JSON {"labels": [...], "counts": [[...]]}, rows are true classes; unknown labels come last
    worst_confusions: list[Confusion] = Field(default_factory=list)
    threshold: Threshold | None = None
    baselines: list[BaselineMetrics] = Field(default_factory=list)
    slices: list[SliceMetrics] = Field(default_factory=list)
    # Parquet: row_id, group_hash (uint64), label, predicted, probability, label_probability, probabilities
    # (list<float32>, in the order of the model's labels), text, and the columns of the slices
    predictions: FileRef
    unknown_label_rows: int = 0  # rows whose label the model never saw: counted as errors
    unknown_labels: dict[str, int] = Field(default_factory=dict)  # those labels, sorted -> rows
    left_out: dict[str, int] = Field(default_factory=dict)  # such labels whose rows prep set aside: in no other figure
    calibration_bins: list[list[float]] = Field(default_factory=list)  # [low, high, rows, mean confidence, accuracy]
    model_uri: Uri
    model_digest: str
    dataset_uri: Uri
    dataset_fingerprint: str
    created_at: str = ""

    @property
    def about_left_out(self) -> str:
        """One sentence for pages, gate and card on the rows that prep left out; empty where there are none."""
        if not self.left_out:
            return ""
        rows = sum(self.left_out.values())
        named = ", ".join(list(self.left_out)[:10]) + (", ..." if len(self.left_out) > 10 else "")
        return (
            f"{rows:,} of {self.rows + rows:,} {self.split} rows were left out, as train has none of their labels "
            f"({named}): accuracy with them as wrong answers {self.metrics['accuracy_all_rows']:.4f}, without them "
            f"{self.metrics['accuracy']:.4f}"
        )


class RuleResult(Record):
    """One rule of the policy, with the numbers it was judged on."""

    rule: str
    passed: bool
    applies: bool = True
    value: float | None = None
    bound: float | None = None
    detail: str = ""


class DecisionRecord(Artifact):
    """What `promote.gate` decided, rule by rule."""

    KIND: ClassVar[str] = "DecisionRecord"
    SEALED: ClassVar[bool] = True

    name: str
    decision: Literal["blessed", "rejected"]
    reason: str  # one sentence a person can read
    rules: list[RuleResult]
    challenger_digest: str
    champion_version: int | None = None
    champion_digest: str | None = None
    champion_sequence: int | None = None  # how often the champion had been moved: tells a stale verdict; 0: none yet
    comparison: dict[str, object] = Field(default_factory=dict)
    policy: dict[str, object] = Field(default_factory=dict)
    uri: Uri | None = None  # folder of record.json and report.html
    evaluation_uri: Uri | None = None  # what it was decided on
    evaluation_seal: str = ""  # of that EvaluationRecord, as it was
    created_at: str = ""
