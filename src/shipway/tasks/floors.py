"""Floors of a promotion policy: what each class, type or tag must reach, all alike or single ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from shipway.artifacts import RuleResult
from shipway.errors import nearest

NAMED = 10  # of a list in a sentence


class Measured(Protocol):
    """Figures of one class; a floor is on an attribute of them."""

    support: int


M = TypeVar("M", bound=Measured)


class Kind(NamedTuple):
    """What the floors are of, in the words of rules: `class`, `classes`, and `rows`, which their support counts."""

    one: str
    many: str
    counted: str


def judge_every(kind: Kind, metric: str, floor: float, measured: Mapping[str, Measured], least: int) -> RuleResult:
    """One rule for all of them together.

    Args:
        kind: What they are.
        metric: Attribute of their figures.
        floor: That each must reach.
        measured: Figures by name; of equally bad ones those that come first are named first.
        least: Support below which one is not judged.
    """
    values = {name: float(getattr(each, metric)) for name, each in measured.items() if each.support >= least}
    under = sorted((name for name in values if values[name] < floor), key=lambda name: values[name])
    named = ", ".join(f"{name} {values[name]:.3f}" for name in under[:NAMED])
    more = f" and {len(under) - NAMED} more" if len(under) > NAMED else ""
    skipped = len(measured) - len(values)
    left_out = f"; {skipped} {kind.many} with fewer than {least} {kind.counted} are not judged" if skipped else ""
    return RuleResult(
        rule=f"{_title(metric)} of every {kind.one} at least {floor:g}",
        passed=not under,
        applies=bool(values),
        value=min(values.values(), default=None),
        bound=floor,
        detail=(f"below: {named}{more}" if under else f"holds for {len(values)} {kind.many}") + left_out,
    )


def judge_one(
    metric: str, floor: float, name: str, measured: Mapping[str, M], missing: str, detail: Callable[[M], str]
) -> RuleResult:
    """The rule of a single one, whatever its support; a name that no row has fails it, as a typing error must not pass.

    Args:
        metric: Attribute of its figures.
        floor: That it must reach.
        name: Its name.
        measured: All figures by name.
        missing: What no test row has, where there is none of it: `this label`.
        detail: What is said behind its value.
    """
    rule, scores = f"{_title(metric)} of {name} at least {floor:g}", measured.get(name)
    if scores is None or not scores.support:
        hint = nearest(name, measured) if scores is None else ""
        return RuleResult(rule=rule, passed=False, bound=floor, detail=f"no test row has {missing}{hint}")
    value = float(getattr(scores, metric))
    told = f"{value:.4f}{detail(scores)}"
    return RuleResult(rule=rule, passed=value >= floor, value=value, bound=floor, detail=told)


def _title(metric: str) -> str:
    return metric.replace("_", " ")
