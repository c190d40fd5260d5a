"""`PromotionPolicy`: what a model must show before it may take over."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from shipway.components.evaluate.spec import BASELINES, LOWER_IS_BETTER, METRICS, UNBOUNDED, WITH_INTERVAL, Baseline
from shipway.errors import nearest
from shipway.specs import Spec

Share = Annotated[float, Field(ge=0, le=1)]


class Bound(Spec):
    """A metric's bound; at least one side."""

    at_least: float | None = None
    at_most: float | None = None
    confident: bool = False
    """Judge the pessimistic end of the confidence interval in place of the value itself."""

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most or both")
        return self


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


class BaselineRule(Spec):
    """Baselines that the model must not lose to."""

    must_not_lose_to: list[Baseline] = Field(default_factory=lambda: list(BASELINES))
    margin: Share = 0.01
    """Accuracy that it may stay behind."""
    only_sure_losses: bool = True
    """Only a loss that the whole interval of the difference confirms rejects: on a few hundred rows, or rows of a few
    templates, a point or two is chance. False asks it of the accuracies themselves."""


class Comparison(Spec):
    """A metric of challenger minus champion on the same test rows."""

    metric: Literal["accuracy", "macro_f1", "weighted_f1"] = "accuracy"
    margin: Share = 0.0
    confident: bool = False
    """Ask it of the interval's lower end in place of the difference itself."""


class ChampionRules(Spec):
    """What the challenger must show against the champion."""

    no_worse_than: list[Comparison] = Field(default_factory=lambda: [Comparison(margin=0.01)])
    """Passes when the difference is at least -margin."""
    better_than: list[Comparison] = Field(default_factory=list)
    """Passes when the difference is above margin."""
    significance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Reject a challenger that answers fewer rows rightly with a McNemar p-value below this; None only reports it."""
    rows: Literal["shared", "all"] = "shared"
    """Where label sets differ: judge on the rows whose label both know, or on all."""
    if_leaked: Literal["skip", "reject"] = "skip"
    """The champion was trained on some of the test rows: leave the comparison out (said so), or reject."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 0


class PromotionPolicy(Spec):
    """The rules of one gate; what is not named is not asked."""

    thresholds: dict[str, Bound] = Field(default_factory=dict)
    """Metric -> bound; a bare number is `at_least` (`at_most` for log_loss, ece and unknown_label_rate)."""
    class_floors: ClassFloors = Field(default_factory=ClassFloors)
    forbidden_confusions: list[ForbiddenConfusion] = Field(default_factory=list)
    baselines: BaselineRule = Field(default_factory=BaselineRule)
    champion: ChampionRules = Field(default_factory=ChampionRules)
    recipes: list[str] = Field(default_factory=list)
    """Recipes besides the shipped ones that the champion's manifest may name; `plan` puts the run's own here."""

    @field_validator("thresholds")
    @classmethod
    def _can_be_met(cls, value: dict[str, Bound]) -> dict[str, Bound]:
        for metric, bound in value.items():
            for side in (bound.at_least, bound.at_most):
                if side is not None and not 0 <= side <= (inf if metric in UNBOUNDED else 1):
                    allowed = "0 or more" if metric in UNBOUNDED else "a share from 0 to 1, such as 0.9 for 90 %"
                    raise ValueError(f"{metric}: got {side:g}, expected {allowed}")
            if bound.confident and metric not in WITH_INTERVAL:
                raise ValueError(f"{metric} has no interval; expected one of {', '.join(WITH_INTERVAL)} for confident")
        return value

    @field_validator("thresholds", mode="before")
    @classmethod
    def _named_bounds(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for metric in value:
            if metric not in METRICS:
                raise ValueError(
                    f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}{nearest(str(metric), METRICS)}"
                )
        return {
            metric: bound
            if not isinstance(bound, int | float)
            else {"at_most" if metric in LOWER_IS_BETTER else "at_least": float(bound)}
            for metric, bound in value.items()
        }
