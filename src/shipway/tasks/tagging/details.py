"""What a tagger's evaluation is asked for, what it keeps, and what a policy may ask of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shipway.artifacts import Record
from shipway.specs import Spec
from shipway.tasks.tagging.threshold import ThresholdRule

Share = Annotated[float, Field(ge=0, le=1)]


class Params(Spec):
    """Section `evaluation.task`."""

    threshold: ThresholdRule = Field(default_factory=ThresholdRule)
    confusions: Annotated[int, Field(ge=0, le=200)] = 20
    """Pairs of a missed tag and one named in the same row that are kept."""
    examples: Annotated[int, Field(ge=0, le=200)] = 20
    """Worst rows that are kept."""


class Floors(Spec):
    """What a tag must reach; recall and precision at 0.5."""

    recall: Share | None = None
    precision: Share | None = None
    average_precision: Share | None = None


class TagFloors(Floors):
    """What every tag must reach."""

    min_support: Annotated[int, Field(ge=1)] = 10
    """Tags with fewer test rows are not judged: a handful of rows says little."""
    tags: dict[str, Floors] = Field(default_factory=dict)
    """Of single tags, in place of the others' floors; judged whatever their support."""


class Rules(Spec):
    """Section `promotion.task`."""

    tag_floors: TagFloors = Field(default_factory=TagFloors)


class TagMetrics(Record):
    tag: str
    precision: float  # at 0.5, as recall and f1
    recall: float
    f1: float
    average_precision: float | None = None  # None: no row has the tag
    support: int
    named: int  # rows that are given the tag


class Threshold(Record):
    """The score from which a tag is named, calibrated on the eval split."""

    value: float
    f1: float  # on the scored split, as all but the calibration's
    precision: float
    recall: float
    curve: list[list[float]] = Field(default_factory=list)  # [threshold, precision, recall]
    calibrated_on: str = "eval"
    calibration_f1: float


class Confusion(Record):
    """Rows that are given one tag and miss another."""

    missed: str
    named: str
    count: int
    example: str


class WorstRow(Record):
    preview: str
    tags: list[str]
    named: list[str]


class Details(Record):
    """`EvaluationRecord.details` of a tagger."""

    per_tag: list[TagMetrics] = Field(default_factory=list)
    threshold: Threshold | None = None
    confusions: list[Confusion] = Field(default_factory=list)
    worst_rows: list[WorstRow] = Field(default_factory=list)
    unknown_tags: dict[str, int] = Field(default_factory=dict)  # that the model never saw -> rows: all missed
    unknown_rows: int = 0  # with at least one of them
