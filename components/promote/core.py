"""The rules of a policy, judged one by one on numbers that were measured before. Nothing here reads or writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shipway.artifacts import EvaluationRecord, RuleResult
from shipway.components.promote.comparison import Champion, Figures
from shipway.components.promote.spec import BaselineRule, Bound, ChampionRules, Comparison, PromotionPolicy


def judge(
    policy: PromotionPolicy, evaluation: EvaluationRecord, own: Iterable[RuleResult], champion: Champion
) -> list[RuleResult]:
    """Every rule of the policy with the numbers it was judged on.

    Args:
        policy: The rules, as `check_policy` gives them.
        evaluation: The challenger's.
        own: The task's own rules, judged.
        champion: What is known of it.
    """
    rules = [_threshold(evaluation, metric, bound) for metric, bound in policy.thresholds.items()]
    rules += own
    rules += _baselines(policy.baselines, evaluation)
    if evaluation.left_out:
        told = evaluation.about_left_out
        rules.append(RuleResult(rule="rows that were left out", passed=True, applies=False, detail=told))
    lower = {info.name for info in evaluation.shown if info.lower_is_better}
    return [*rules, *_against_champion(policy.champion, champion, lower)]


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
        # Of a metric that needs the eval split, such as one beyond a threshold calibrated there.
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


def _baselines(rule: BaselineRule, evaluation: EvaluationRecord) -> Iterator[RuleResult]:
    measured = {baseline.name: baseline for baseline in evaluation.baselines}
    primary = evaluation.primary
    value = evaluation.metrics[primary.name]
    for name in rule.must_not_lose_to or ():
        sure = "surely " if rule.only_sure_losses else ""
        beside = measured.get(name)
        title = f"does not {sure}lose to the {beside.title if beside else name}"
        title += f" by more than {rule.margin:g}" if rule.margin else ""
        if beside is None:
            yield RuleResult(rule=title, passed=True, applies=False, detail="not measured by this evaluation")
            continue
        interval = beside.difference_interval if rule.only_sure_losses else None
        difference = value - beside.metrics[primary.name]
        between = f" ({interval.low:+.4f} to {interval.high:+.4f})" if interval else ""
        low, high = (interval.low, interval.high) if interval else (difference, difference)
        ahead = -low if primary.lower_is_better else high  # at best
        yield RuleResult(
            rule=title,
            passed=ahead >= -rule.margin - 1e-12,
            value=ahead,
            bound=-rule.margin,
            detail=f"{primary.name} {value:.4f}, the baseline's {beside.metrics[primary.name]:.4f}, difference "
            f"{difference:+.4f}{between}" + (", the baseline fitted on a sample" if beside.sampled else ""),
        )


def _against_champion(rules: ChampionRules, champion: Champion, lower: set[str]) -> Iterator[RuleResult]:
    if champion.state in ("none", "same", "other"):
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
            rule="against the champion", passed=True, applies=False, detail="no test row has labels that both know"
        )
        return
    for comparison in rules.no_worse_than:
        yield _compared(comparison, figures, better=False, lower_is_better=comparison.metric in lower)
    for comparison in rules.better_than:
        yield _compared(comparison, figures, better=True, lower_is_better=comparison.metric in lower)
    yield _significance(rules.significance, figures)


def _compared(comparison: Comparison, figures: Figures, *, better: bool, lower_is_better: bool) -> RuleResult:
    figure = figures.metrics[comparison.metric]
    gain, least = figure["difference"], figure["low"]
    if lower_is_better:
        gain, least = -gain, -figure["high"]
    value = least if comparison.confident else gain
    bound = comparison.margin if better else -comparison.margin
    title = "better than" if better else "no worse than"
    margin = f" by more than {comparison.margin:g}" if comparison.margin else ""
    # Rounding of two equal figures must not decide.
    passed = value > bound + 1e-12 if better else value >= bound - 1e-12
    return RuleResult(
        rule=f"{comparison.metric} {title} the champion's{margin}" + (", surely" if comparison.confident else ""),
        passed=passed,
        value=value,
        bound=bound,
        detail=f"{figure['challenger']:.4f} against {figure['champion']:.4f}, difference {figure['difference']:+.4f} "
        f"({figure['low']:+.4f} to {figure['high']:+.4f}) on {figures.rows} rows",
    )


def _significance(level: float | None, figures: Figures) -> RuleResult:
    fewer = figures.only_challenger < figures.only_champion
    return RuleResult(
        rule="exact sign test over rows: not significantly fewer answered better"
        + (f" (p < {level:g})" if level else ""),
        passed=level is None or not (fewer and figures.p_value < level),
        applies=level is not None,
        value=figures.p_value,
        bound=level,
        detail=f"{figures.only_champion} rows the champion answers better, {figures.only_challenger} the challenger, "
        f"p = {figures.p_value:.3g}",
    )
