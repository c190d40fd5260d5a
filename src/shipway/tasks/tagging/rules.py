"""Rules of a policy on single tags."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.tasks.floors import Kind, judge_every, judge_one
from shipway.tasks.tagging.details import Details, Floors, Rules, TagMetrics

_TAGS = Kind("tag", "tags", "rows")


def judge(rules: Rules, details: Details) -> Iterator[RuleResult]:
    """Every rule with the numbers it was judged on: one for all tags together, one for each floor of a single tag."""
    floors = rules.tag_floors
    by_tag = {measured.tag: measured for measured in sorted(details.per_tag, key=lambda measured: measured.tag)}
    others = {tag: measured for tag, measured in by_tag.items() if tag not in floors.tags}
    for metric, floor in _asked(floors):
        yield judge_every(_TAGS, metric, floor, others, floors.min_support)
    for tag, own in floors.tags.items():
        for metric, floor in _asked(own):
            yield judge_one(metric, floor, tag, by_tag, "this tag", _rows)


def _asked(floors: Floors) -> Iterator[tuple[str, float]]:
    for metric in Floors.model_fields:
        floor = getattr(floors, metric)
        if floor is not None:
            yield metric, float(floor)


def _rows(scores: TagMetrics) -> str:
    return f"; {scores.support} rows have it, {scores.named} are given it"
