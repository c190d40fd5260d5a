"""The rules of a policy, judged one by one on numbers that were measured before. Nothing here reads or writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from shipway.artifacts import EvaluationRecord, RuleResult
from shipway.components.promote.comparison import Champion, Figures, compare, mcnemar
from shipway.components.promote.spec import (
    BaselineRule,
    Bound,
    ChampionRules,
    ClassFloors,
    Comparison,
    ForbiddenConfusion,
    PromotionPolicy,
)
from shipway.errors import nearest

__all__ = ["Champion", "Figures", "compare", "judge", "mcnemar", "verdict"]

_NAMED = 10  # of a list in a sentence
_BASELINES = {"majority": "the most frequent label", "linear_svm": "the linear SVM"}


def judge(
    policy: PromotionPolicy, evaluation: EvaluationRecord, counts: NDArray[Any], labels: list[str], champion: Champion
) -> list[RuleResult]:
    """Every rule of the policy with the numbers it was judged on.

    Args:
        policy: The rules.
        evaluation: The challenger's.
        counts: Its confusion matrix, in the order of `labels`.
        labels: The model's labels and those that only the rows have.
        champion: What is known of it.
    """
    rules = [_threshold(evaluation, metric, bound) for metric, bound in policy.thresholds.items()]
    rules += _floors(policy.class_floors, evaluation)
    rules += [_forbidden(rule, counts, labels) for rule in policy.forbidden_confusions]
    rules += _baselines(policy.baselines, evaluation)
    if evaluation.left_out:
        told = evaluation.about_left_out
        rules.append(RuleResult(rule="rows that were left out", passed=True, applies=False, detail=told))
    return [*rules, *_against_champion(policy.champion, champion)]


def verdict(rules: list[RuleResult], champion: Champion) -> tuple[bool, str]:
    """Whether every rule that applies passes, and one sentence why."""
    judged = [rule for rule in rules if rule.applies]
    failed = [rule for rule in judged if not rule.passed]
    if failed:
        told = "; ".join(f"{rule.rule}: {rule.detail}" for rule in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        return False, f"{len(failed)} of {len(judged)} rules fail: {told}{more}"
    passed = f"all {len(judged)} rules pass" if judged else "no rule applies"
    return True, f"{passed}; {champion.detail}"


def _threshold(evaluation: EvaluationRecord, metric: str, bound: Bound) -> RuleResult:
    value = evaluation.metrics.get(metric)
    rule = f"{metric} {_range(bound)}"
    if value is None:
        return RuleResult(rule=rule, passed=False, detail=f"{metric} was not measured: the dataset has no eval split")
    interval = evaluation.intervals.get(metric) if bound.confident else None
    low, high = (interval.low, interval.high) if interval else (value, value)
    below = bound.at_least is not None and low < bound.at_least
    above = bound.at_most is not None and high > bound.at_most
    judged = low if bound.at_least is not None and not above else high
    how = f" ({interval.level:.0%} interval {low:.4f} to {high:.4f})" if interval else ""
    if bound.confident and not interval:  # not known is not passed
        return RuleResult(
            rule=rule,
            passed=False,
            value=value,
            detail=f"{value:.4f}, but no interval was measured: evaluation.bootstrap",
        )
    wrong = f" is below {bound.at_least:g}" if below else f" is above {bound.at_most:g}" if above else ""
    return RuleResult(
        rule=rule,
        passed=not (below or above),
        value=judged,
        bound=bound.at_most if above or bound.at_least is None else bound.at_least,
        detail=f"{value:.4f}{how}{wrong}",
    )


def _range(bound: Bound) -> str:
    parts = [f"at least {bound.at_least:g}"] if bound.at_least is not None else []
    parts += [f"at most {bound.at_most:g}"] if bound.at_most is not None else []
    return " and ".join(parts)


def _floors(floors: ClassFloors, evaluation: EvaluationRecord) -> Iterator[RuleResult]:
    """One rule for all classes together, and one for each label that has a floor of its own."""
    judged = [c for c in evaluation.per_class if c.support >= floors.min_support and c.label not in floors.labels]
    skipped = sum(1 for c in evaluation.per_class if c.support < floors.min_support and c.label not in floors.labels)
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
    by_label = {c.label: c for c in evaluation.per_class}
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


def _forbidden(rule: ForbiddenConfusion, counts: NDArray[Any], labels: list[str]) -> RuleResult:
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


def _baselines(rule: BaselineRule, evaluation: EvaluationRecord) -> Iterator[RuleResult]:
    measured = {baseline.name: baseline for baseline in evaluation.baselines}
    accuracy = evaluation.metrics["accuracy"]
    for name in rule.must_not_lose_to:
        sure = "surely " if rule.only_sure_losses else ""
        title = f"does not {sure}lose to {_BASELINES[name]}" + (f" by more than {rule.margin:g}" if rule.margin else "")
        found = measured.get(name)
        if found is None:
            yield RuleResult(rule=title, passed=True, applies=False, detail="not measured by this evaluation")
            continue
        interval = found.difference_interval if rule.only_sure_losses else None
        ahead = accuracy - found.accuracy
        between = f" ({interval.low:+.4f} to {interval.high:+.4f})" if interval else ""
        yield RuleResult(
            rule=title,
            passed=(interval.high if interval else ahead) >= -rule.margin - 1e-12,
            value=interval.high if interval else ahead,
            bound=-rule.margin,
            detail=f"accuracy {accuracy:.4f}, the baseline's {found.accuracy:.4f}, difference {ahead:+.4f}{between}"
            + (", the baseline fitted on a sample" if found.sampled else ""),
        )


def _against_champion(rules: ChampionRules, champion: Champion) -> Iterator[RuleResult]:
    if champion.state in ("none", "same"):
        yield RuleResult(rule="against the champion", passed=True, applies=False, detail=champion.detail)
        return
    if champion.state in ("leaked", "unknown"):
        rejected = rules.if_leaked == "reject"
        yield RuleResult(
            rule="the champion never saw the test rows",
            passed=not rejected,
            applies=rejected,
            value=float(champion.leaked_groups),
            bound=0.0,
            detail=f"{champion.detail}; not compared",
        )
        return
    figures = champion.shared if rules.rows == "shared" else champion.all
    if figures is None or figures.rows == 0:
        yield RuleResult(
            rule="against the champion", passed=True, applies=False, detail="no test row has a label that both know"
        )
        return
    for comparison in rules.no_worse_than:
        yield _compared(comparison, figures, better=False)
    for comparison in rules.better_than:
        yield _compared(comparison, figures, better=True)
    yield _significance(rules.significance, figures)


def _compared(comparison: Comparison, figures: Figures, *, better: bool) -> RuleResult:
    found = figures.metrics[comparison.metric]
    value = found["low"] if comparison.confident else found["difference"]
    bound = comparison.margin if better else -comparison.margin
    title = "better than" if better else "no worse than"
    margin = f" by more than {comparison.margin:g}" if comparison.margin else ""
    # Rounding of two equal accuracies must not decide.
    passed = value > bound + 1e-12 if better else value >= bound - 1e-12
    return RuleResult(
        rule=f"{comparison.metric} {title} the champion's{margin}" + (", surely" if comparison.confident else ""),
        passed=passed,
        value=value,
        bound=bound,
        detail=f"{found['challenger']:.4f} against {found['champion']:.4f}, difference {found['difference']:+.4f} "
        f"({found['low']:+.4f} to {found['high']:+.4f}) on {figures.rows} rows",
    )


def _significance(level: float | None, figures: Figures) -> RuleResult:
    fewer = figures.only_challenger < figures.only_champion
    return RuleResult(
        rule="McNemar's exact test: not significantly fewer right answers" + (f" (p < {level:g})" if level else ""),
        passed=level is None or not (fewer and figures.p_value < level),
        applies=level is not None,
        value=figures.p_value,
        bound=level,
        detail=f"{figures.only_champion} rows only the champion answers rightly, {figures.only_challenger} only the "
        f"challenger, p = {figures.p_value:.3g}",
    )
