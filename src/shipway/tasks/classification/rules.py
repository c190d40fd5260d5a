"""Rules of a policy on single classes and single confusions."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.errors import nearest
from shipway.tasks.classification.details import ClassFloors, Details, ForbiddenConfusion, Rules
from shipway.tasks.classification.figures import Ints

_NAMED = 10  # of a list in a sentence


def judge(rules: Rules, found: Details, counts: Ints, labels: list[str]) -> Iterator[RuleResult]:
    """Every rule with the numbers it was judged on.

    Args:
        rules: The rules.
        found: What was measured.
        counts: The confusion matrix, in the order of `labels`.
        labels: The model's labels and those that only the rows have.
    """
    yield from _floors(rules.class_floors, found)
    for rule in rules.forbidden_confusions:
        yield _forbidden(rule, counts, labels)


def _floors(floors: ClassFloors, measured: Details) -> Iterator[RuleResult]:
    """One rule for all classes together, and one for each label that has a floor of its own."""
    judged = [c for c in measured.per_class if c.support >= floors.min_support and c.label not in floors.labels]
    skipped = sum(1 for c in measured.per_class if c.support < floors.min_support and c.label not in floors.labels)
    for metric, floor in (("recall", floors.recall), ("precision", floors.precision)):
        if floor is None:
            continue
        values = {c.label: float(getattr(c, metric)) for c in judged}
        under = sorted((label for label in values if values[label] < floor), key=lambda label: values[label])
        named = ", ".join(f"{label} {values[label]:.3f}" for label in under[:_NAMED])
        more = f" and {len(under) - _NAMED} more" if len(under) > _NAMED else ""
        left_out = f"; {skipped} classes with fewer than {floors.min_support} rows are not judged" if skipped else ""
        yield RuleResult(
            rule=f"{metric} of every class at least {floor:g}",
            passed=not under,
            applies=bool(values),
            value=min(values.values(), default=None),
            bound=floor,
            detail=(f"below: {named}{more}" if under else f"holds for {len(values)} classes") + left_out,
        )
    by_label = {c.label: c for c in measured.per_class}
    for label, floor in floors.labels.items():
        found = by_label.get(label)
        rule = f"recall of {label} at least {floor:g}"
        if found is None or not found.support:
            hint = nearest(label, by_label) if found is None else ""
            yield RuleResult(rule=rule, passed=False, bound=floor, detail=f"no test row has this label{hint}")
        else:
            yield RuleResult(
                rule=rule,
                passed=found.recall >= floor,
                value=found.recall,
                bound=floor,
                detail=f"{found.recall:.4f} of {found.support} rows",
            )


def _forbidden(rule: ForbiddenConfusion, counts: Ints, labels: list[str]) -> RuleResult:
    allowed = [f"at most {rule.max_count} rows"] if rule.max_count is not None else []
    allowed += [f"at most {rule.max_rate:g} of its rows"] if rule.max_rate is not None else []
    name = f"{rule.label} taken for {rule.predicted}: {' and '.join(allowed)}"
    for label in (rule.label, rule.predicted):
        if label not in labels:
            # A typing error must not pass for a confusion that never happens.
            detail = f"neither model nor test rows have a label {label!r}{nearest(label, labels)}"
            return RuleResult(rule=name, passed=False, detail=detail)
    row = counts[labels.index(rule.label)]
    count, support = int(row[labels.index(rule.predicted)]), int(row.sum())
    rate = count / support if support else 0.0
    too_many = rule.max_count is not None and count > rule.max_count
    too_often = rule.max_rate is not None and rate > rule.max_rate
    by_rate = rule.max_count is None
    return RuleResult(
        rule=name,
        passed=not (too_many or too_often),
        value=rate if by_rate else float(count),
        bound=rule.max_rate if by_rate else rule.max_count,
        detail=f"{count} of {support} rows ({rate:.1%})",
    )
