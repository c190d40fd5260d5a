"""Rules of a policy on single types."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.errors import nearest
from shipway.tasks.spans.details import Details, Rules, TypeFloors

_NAMED = 10  # of a list in a sentence


def judge(rules: Rules, measured: Details) -> Iterator[RuleResult]:
    """One rule for all types together, and one for each type that has a floor of its own."""
    floors = rules.type_floors
    for metric, floor in (("recall", floors.recall), ("precision", floors.precision)):
        if floor is not None:
            yield _of_all(metric, floor, floors, measured)
    by_type = {found.type: found for found in measured.per_type}
    for name, floor in floors.types.items():
        found, rule = by_type.get(name), f"recall of {name} at least {floor:g}"
        if found is None or not found.support:
            # A typing error must not pass for a type that is always found.
            hint = nearest(name, by_type) if found is None else ""
            yield RuleResult(rule=rule, passed=False, bound=floor, detail=f"no test row has a span of it{hint}")
        else:
            yield RuleResult(
                rule=rule,
                passed=found.recall >= floor,
                value=found.recall,
                bound=floor,
                detail=f"{found.recall:.4f} of {found.support} spans",
            )


def _of_all(metric: str, floor: float, floors: TypeFloors, measured: Details) -> RuleResult:
    others = [found for found in measured.per_type if found.type not in floors.types]
    values = {found.type: float(getattr(found, metric)) for found in others if found.support >= floors.min_support}
    under = sorted((name for name in values if values[name] < floor), key=lambda name: values[name])
    named = ", ".join(f"{name} {values[name]:.3f}" for name in under[:_NAMED])
    more = f" and {len(under) - _NAMED} more" if len(under) > _NAMED else ""
    skipped = len(others) - len(values)
    left_out = f"; {skipped} types with fewer than {floors.min_support} spans are not judged" if skipped else ""
    return RuleResult(
        rule=f"{metric} of every type at least {floor:g}",
        passed=not under,
        applies=bool(values),
        value=min(values.values(), default=None),
        bound=floor,
        detail=(f"below: {named}{more}" if under else f"holds for {len(values)} types") + left_out,
    )
