"""`PromotionPolicy`: what a model must show before it may take over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from shipway.code.reference import Code
from shipway.components.evaluate.spec import check_baseline
from shipway.errors import InvalidSpec
from shipway.specs import Spec, parse

if TYPE_CHECKING:
    from shipway.tasks import Metric, Task

Margin = Annotated[float, Field(ge=0)]


class Bound(Spec):
    """A metric's bound; at least one side, or a bare number in place of it all."""

    at_least: float | None = None
    at_most: float | None = None
    bare: float | None = None
    """The bare number: `at_least`, or `at_most` where less is better."""
    confident: bool = False
    """Judge the pessimistic end of the confidence interval in place of the value itself."""

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"bare": value} if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.at_least is None and self.at_most is None and self.bare is None:
            raise ValueError("expected at_least, at_most or both")
        return self


class BaselineRule(Spec):
    """Baselines that the model must not lose to."""

    must_not_lose_to: list[str] | None = None
    """Names of the task's baselines; null: all of them."""
    margin: Margin = 0.01
    """What its first metric may stay behind, in that metric's own unit."""
    only_sure_losses: bool = True
    """Only a loss that the whole interval of the difference confirms rejects: on a few hundred rows, or rows of a few
    templates, a point or two is chance. False asks it of the metrics themselves."""


class Comparison(Spec):
    """A metric of challenger minus champion on the same test rows."""

    metric: str = ""
    """One that has an interval; empty: the task's first."""
    margin: Margin = 0.0
    confident: bool = False
    """Ask it of the interval's pessimistic end in place of the difference itself."""


class ChampionRules(Spec):
    """What the challenger must show against the champion."""

    no_worse_than: list[Comparison] = Field(default_factory=lambda: [Comparison(margin=0.01)])
    """Passes when the challenger is worse by at most margin."""
    better_than: list[Comparison] = Field(default_factory=list)
    """Passes when the challenger is better by more than margin."""
    significance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Reject a challenger that answers fewer rows better than the champion, with an exact sign test's p-value below
    this; None only reports it."""
    rows: Literal["shared", "all"] = "shared"
    """Where label sets differ: judge on the rows whose labels both know, or on all."""
    if_leaked: Literal["skip", "reject"] = "skip"
    """The champion was trained on some of the test rows: leave the comparison out (said so), or reject."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 0


class PromotionPolicy(Spec):
    """The rules of one gate; what is not named is not asked."""

    thresholds: dict[str, Bound] = Field(default_factory=dict)
    """Metric -> bound; a bare number is `at_least`, or `at_most` where less is better."""
    baselines: BaselineRule = Field(default_factory=BaselineRule)
    champion: ChampionRules = Field(default_factory=ChampionRules)
    task: dict[str, Any] = Field(default_factory=dict)
    """The task's own rules; docs/evaluation.md has those of classification."""
    recipes: list[str] = Field(default_factory=list)
    """Recipes besides the shipped ones that the manifests may name; `plan` puts the run's own here."""
    code: Code = ""
    """Your own code, `ADDRESS#sha256=HASH`, that the recipes are in."""


def check_policy(policy: PromotionPolicy, task: Task) -> tuple[PromotionPolicy, BaseModel]:
    """What only the task can check.

    Returns:
        The policy with every name filled in and every bare number on its side, and the task's own rules.

    Raises:
        InvalidSpec: a metric, a baseline or a rule that the task does not have, a bound that no value can meet.
    """
    thresholds = {name: _bound(name, bound, task.metrics) for name, bound in policy.thresholds.items()}
    known = list(task.evaluation.baselines)
    wanted = policy.baselines.must_not_lose_to
    for position, name in enumerate(wanted or ()):
        check_baseline(name, known, f"promotion.baselines.must_not_lose_to[{position}]")
    baselines = {"must_not_lose_to": known if wanted is None else wanted}
    champion = {
        field: [
            _comparison(rule, task.metrics, f"promotion.champion.{field}[{position}].metric")
            for position, rule in enumerate(getattr(policy.champion, field))
        ]
        for field in ("no_worse_than", "better_than")
    }
    return policy.model_copy(
        update={
            "thresholds": thresholds,
            "baselines": policy.baselines.model_copy(update=baselines),
            "champion": policy.champion.model_copy(update=champion),
        }
    ), parse(task.evaluation.Rules, policy.task, "promotion.task")


def _bound(name: str, bound: Bound, metrics: Mapping[str, Metric]) -> Bound:
    _check_name(name, metrics, "promotion.thresholds")
    metric = metrics[name]
    if bound.bare is not None:
        side = "at_most" if metric.lower_is_better else "at_least"
        bound = bound.model_copy(update={"bare": None, side: bound.bare})
    for value in (bound.at_least, bound.at_most):
        if value is not None and metric.is_share and not 0 <= value <= 1:
            raise InvalidSpec(
                f"got {value:g}, expected a share from 0 to 1, such as 0.9 for 90 %",
                field=f"promotion.thresholds.{name}",
            )
    if bound.confident and not metric.has_interval:
        known = ", ".join(_with_interval(metrics))
        raise InvalidSpec(
            f"{name} has no interval", field=f"promotion.thresholds.{name}", allowed=f"one of {known} for confident"
        )
    return bound


def _comparison(rule: Comparison, metrics: Mapping[str, Metric], where: str) -> Comparison:
    name = rule.metric or next(iter(metrics))
    _check_name(name, _with_interval(metrics), where)
    return rule.model_copy(update={"metric": name})


def _check_name(name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise InvalidSpec("unknown metric", field=where, given=name, allowed=known)


def _with_interval(metrics: Mapping[str, Metric]) -> list[str]:
    return [name for name, metric in metrics.items() if metric.has_interval]
