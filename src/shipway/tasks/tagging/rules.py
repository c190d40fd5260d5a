"""Rules of a policy on single tags."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.errors import nearest
from shipway.tasks.tagging.details import Details, Floors, Rules, TagFloors, TagMetrics

_NAMED = 10  # of a list in a sentence


def judge(rules: Rules, found: Details) -> Iterator[RuleResult]:
    """Every rule with the numbers it was judged on: one for all tags together, one for each floor of a single tag."""
    floors = rules.tag_floors
    by_tag = {measured.tag: measured for measured in found.per_tag}
    others = [measured for measured in found.per_tag if measured.tag not in floors.tags]
    for metric, floor in _asked(floors):
        yield _of_all(metric, floor, floors, others)
    for tag, own in floors.tags.items():
        for metric, floor in _asked(own):
            yield _of_one(metric, floor, tag, by_tag)


def _asked(floors: Floors) -> Iterator[tuple[str, float]]:
    for metric in Floors.model_fields:
        floor = getattr(floors, metric)
        if floor is not None:
            yield metric, float(floor)


def _title(metric: str) -> str:
    return metric.replace("_", " ")


def _of_all(metric: str, floor: float, floors: TagFloors, others: list[TagMetrics]) -> RuleResult:
    values = {each.tag: float(getattr(each, metric)) for each in others if each.support >= floors.min_support}
    skipped = len(others) - len(values)
    under = sorted((tag for tag in values if values[tag] < floor), key=lambda tag: (values[tag], tag))
    named = ", ".join(f"{tag} {values[tag]:.3f}" for tag in under[:_NAMED])
    more = f" and {len(under) - _NAMED} more" if len(under) > _NAMED else ""
    left_out = f"; {skipped} tags with fewer than {floors.min_support} rows are not judged" if skipped else ""
    return RuleResult(
        rule=f"{_title(metric)} of every tag at least {floor:g}",
        passed=not under,
        applies=bool(values),
        value=min(values.values(), default=None),
        bound=floor,
        detail=(f"below: {named}{more}" if under else f"holds for {len(values)} tags") + left_out,
    )


def _of_one(metric: str, floor: float, tag: str, by_tag: dict[str, TagMetrics]) -> RuleResult:
    rule, found = f"{_title(metric)} of {tag} at least {floor:g}", by_tag.get(tag)
    if found is None or not found.support:
        hint = nearest(tag, by_tag) if found is None else ""
        return RuleResult(rule=rule, passed=False, bound=floor, detail=f"no test row has this tag{hint}")
    value = float(getattr(found, metric))
    detail = f"{value:.4f}; {found.support} rows have it, {found.named} are given it"
    return RuleResult(rule=rule, passed=value >= floor, value=value, bound=floor, detail=detail)
