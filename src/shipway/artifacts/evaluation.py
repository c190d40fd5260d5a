"""EvaluationRecord and DecisionRecord: how good a model is, and what was decided on that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from shipway.artifacts.base import Artifact, FileRef, Record, Uri


class Interval(Record):
    """A bootstrap confidence interval over groups."""

    low: float
    high: float
    level: float = 0.95


class MetricInfo(Record):
    """One of a record's metrics, as pages and screens need to know it, also where its task is not installed."""

    name: str
    title: str
    is_share: bool = True  # from 0 to 1, shown as a percentage
    lower_is_better: bool = False
    about: str = ""  # what it means, in a few words


class BaselineMetrics(Record):
    """A baseline on the same rows."""

    name: str
    title: str = ""
    metrics: dict[str, float]
    trained_rows: int
    sampled: bool = False  # trained on a sample of the training rows
    model_loses: bool = False  # by the first metric
    difference: float | None = None  # the model's first metric minus this baseline's
    difference_interval: Interval | None = None  # of it, on the same resampled groups


class SliceMetrics(Record):
    column: str
    value: str
    rows: int
    metrics: dict[str, float]


class EvaluationRecord(Artifact):
    """A model's score on one split of a dataset.

    Everything that others show of it stands in it as the task said it once (`shown`, `headline`, `limits`, `facts`): a
    screen, a card or a notification needs no task, whose code may not be installed where they are drawn.
    """

    KIND: ClassVar[str] = "EvaluationRecord"
    SEALED: ClassVar[bool] = True

    name: str
    uri: Uri  # folder of the predictions and `files`
    task: str
    split: str
    rows: int
    groups: int
    metrics: dict[str, float]
    shown: list[MetricInfo]  # what `metrics` holds, in the task's order; models are compared by the first
    intervals: dict[str, Interval] = Field(default_factory=dict)
    labels: list[str]  # the model's classes; empty where the task has none
    baselines: list[BaselineMetrics] = Field(default_factory=list)
    slices: list[SliceMetrics] = Field(default_factory=list)
    headline: list[str] = Field(default_factory=list)  # sentences for screens, notifications and the card
    limits: list[str] = Field(default_factory=list)  # what to know before using the model, for the card
    facts: dict[str, object] = Field(default_factory=dict)  # the task's own, for the run's summary
    details: dict[str, object] = Field(default_factory=dict)  # the task's own, for its rules and its page
    settings: dict[str, object] = Field(default_factory=dict)  # what the endpoint is set to because of this
    example: object = None  # an instance (JSON) of a row that the model answers well, to ask its endpoint with
    example_line: str = ""  # what a person types for it, where that is something else
    files: dict[str, FileRef] = Field(default_factory=dict)  # the task's own, by name
    # Parquet: row_id, group_hash (uint64), label, preview, the input's columns, those of `columns` (an array or list a
    # row), what the task says of each prediction beside its truth, and the slices' columns
    predictions: FileRef
    columns: list[str] = Field(default_factory=list)  # names of the predictions' own parts
    left_out: dict[str, int] = Field(default_factory=dict)  # classes without training rows -> rows: in no other figure
    with_left_out: str = ""  # what the figures are with those rows, in a few words
    model_uri: Uri
    model_digest: str
    variant: str  # name of the one that was scored
    variant_digest: str
    dataset_uri: Uri
    dataset_fingerprint: str
    created_at: str = ""

    @property
    def primary(self) -> MetricInfo:
        """The metric that models are compared by."""
        return self.shown[0]

    def shown_in(self, parts: Sequence[BaselineMetrics | SliceMetrics]) -> list[MetricInfo]:
        """Those metrics that every baseline or slice has, too."""
        return [info for info in self.shown if all(info.name in part.metrics for part in parts)]

    @property
    def about_left_out(self) -> str:
        """One sentence for pages, gate and card on the rows that prep left out; empty where there are none."""
        if not self.left_out:
            return ""
        rows = sum(self.left_out.values())
        named = ", ".join(list(self.left_out)[:10]) + (", ..." if len(self.left_out) > 10 else "")
        return (
            f"{rows:,} of {self.rows + rows:,} {self.split} rows were left out, as train has none of their labels "
            f"({named})" + (f": {self.with_left_out}" if self.with_left_out else "")
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
    challenger_variant: str  # digest of the variant that was scored
    champion_version: int | None = None
    champion_digest: str | None = None
    champion_sequence: int | None = None  # how often the champion had been moved: tells a stale verdict; 0: none yet
    comparison: dict[str, object] = Field(default_factory=dict)
    policy: dict[str, object] = Field(default_factory=dict)
    uri: Uri | None = None  # folder of record.json and report.html
    evaluation_uri: Uri | None = None  # what it was decided on
    evaluation_seal: str = ""  # of that EvaluationRecord, as it was
    created_at: str = ""
