"""Rules of a policy on single types."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.tasks.floors import Kind, judge_every, judge_one
from shipway.tasks.spans.details import Details, Rules

_TYPES = Kind("type", "types", "spans")


def judge(rules: Rules, measured: Details) -> Iterator[RuleResult]:
    """One rule for all types together, and one for each type that has a floor of its own."""
    floors = rules.type_floors
    by_type = {scores.type: scores for scores in measured.per_type}
    others = {name: scores for name, scores in by_type.items() if name not in floors.types}
    for metric, floor in (("recall", floors.recall), ("precision", floors.precision)):
        if floor is not None:
            yield judge_every(_TYPES, metric, floor, others, floors.min_support)
    for name, floor in floors.types.items():
        yield judge_one("recall", floor, name, by_type, "a span of it", lambda scores: f" of {scores.support} spans")
