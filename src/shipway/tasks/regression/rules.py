"""Rules of a policy on the mean error and on rows near the truth."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.artifacts import RuleResult
from shipway.tasks.regression.details import Rules
from shipway.tasks.regression.figures import Floats, share_within


def judge(rules: Rules, mean_error: float, sizes: Floats) -> Iterator[RuleResult]:
    """Every rule with the numbers it was judged on.

    Args:
        rules: The rules.
        mean_error: Of all rows.
        sizes: How far each row is off, ascending.
    """
    if rules.mean_error is not None:
        yield RuleResult(
            rule=f"mean error at most {rules.mean_error:g} from 0",
            passed=abs(mean_error) <= rules.mean_error,
            value=abs(mean_error),
            bound=rules.mean_error,
            detail=f"answers are too {'high' if mean_error > 0 else 'low'} by {abs(mean_error):.4g} on average",
        )
    for wanted in rules.within:
        share = share_within(sizes, wanted.error)
        yield RuleResult(
            rule=f"at least {wanted.share:g} of the rows off by at most {wanted.error:g}",
            passed=share >= wanted.share,
            value=share,
            bound=wanted.share,
            detail=f"{round(share * len(sizes)):,} of {len(sizes):,} rows are",
        )
