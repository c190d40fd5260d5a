"""Rules of a policy on single classes and single confusions."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.errors import nearest
from shipway.tasks.classification.details import ClassFloors, Details, ForbiddenConfusion, Rules
from shipway.tasks.classification.figures import Ints
from shipway.tasks.floors import Kind, judge_every, judge_one

_CLASSES = Kind("class", "classes", "rows")


def judge(rules: Rules, details: Details, counts: Ints, labels: list[str]) -> Iterator[RuleResult]:
    """Every rule with the numbers it was judged on.

    Args:
        rules: The rules.
        details: What was measured.
        counts: The confusion matrix, in the order of `labels`.
        labels: The model's labels and those that only the rows have.
    """
    yield from _floors(rules.class_floors, details)
    for rule in rules.forbidden_confusions:
        yield _forbidden(rule, counts, labels)


def _floors(floors: ClassFloors, measured: Details) -> Iterator[RuleResult]:
    """One rule for all classes together, and one for each label that has a floor of its own."""
    by_label = {scores.label: scores for scores in measured.per_class}
    others = {label: scores for label, scores in by_label.items() if label not in floors.labels}
    for metric, floor in (("recall", floors.recall), ("precision", floors.precision)):
        if floor is not None:
            yield judge_every(_CLASSES, metric, floor, others, floors.min_support)
    for label, floor in floors.labels.items():
        yield judge_one("recall", floor, label, by_label, "this label", lambda scores: f" of {scores.support} rows")


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
