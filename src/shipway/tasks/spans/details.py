"""What an evaluation of spans keeps, and what a policy may ask of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shipway.artifacts import Record
from shipway.specs import Spec

Share = Annotated[float, Field(ge=0, le=1)]


class Params(Spec):
    """Section `evaluation.task`.

    Attributes:
        mistakes: Kinds of mistake that are kept by type, the most frequent first.
        examples: Rows that are kept of each.
    """

    mistakes: Annotated[int, Field(ge=0, le=200)] = 20
    examples: Annotated[int, Field(ge=0, le=20)] = 3


class TypeFloors(Spec):
    """What every type must reach.

    Attributes:
        recall, precision: Of every type.
        min_support: Types of fewer true spans are not judged: a handful says little.
        types: Recall of single types, in place of `recall`; judged whatever their support.
    """

    recall: Share | None = None
    precision: Share | None = None
    min_support: Annotated[int, Field(ge=1)] = 10
    types: dict[str, Share] = Field(default_factory=dict)


class Rules(Spec):
    """Section `promotion.task`."""

    type_floors: TypeFloors = Field(default_factory=TypeFloors)


class TypeMetrics(Record):
    """Figures of one type; what is not right of `support` is in the counts of mistakes."""

    type: str
    precision: float
    recall: float
    f1: float
    support: int  # true spans
    predicted: int
    mistakes: dict[str, int] = Field(default_factory=dict)  # kind -> true spans; invented: predicted ones


class Mistake(Record):
    """One kind of mistake between two types, with example rows; an absent span has no type."""

    kind: str
    type: str | None
    predicted: str | None
    count: int
    examples: list[str] = Field(default_factory=list)


class Details(Record):
    """`EvaluationRecord.details` of spans."""

    spans: int = 0
    right: int = 0
    predicted: int = 0
    mistakes: dict[str, int] = Field(default_factory=dict)  # kind -> how many
    per_type: list[TypeMetrics] = Field(default_factory=list)
    worst: list[Mistake] = Field(default_factory=list)
    unknown_types: dict[str, int] = Field(
        default_factory=dict
    )  # that the model never saw -> true spans: none can be right
