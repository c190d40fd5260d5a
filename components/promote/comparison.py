"""Champion and challenger on the same rows: figures, the interval of the difference, McNemar's exact test."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shipway.components.evaluate.core import Ints, averages, bootstrap_difference, confusion_matrix
from shipway.components.promote.spec import ChampionRules


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two models err equally often on the same rows.

    The exact test: of the rows that only one of them answers rightly, each is as likely to be the one's as the
    other's (McNemar 1947; the exact binomial form as in Fagerland, Lydersen and Laake 2013, section 3).

    Args:
        only_first: Rows that only the first answers rightly.
        only_second: Rows that only the second answers rightly.
    """
    from scipy.stats import binom

    rows = only_first + only_second
    return float(min(1.0, 2 * binom.cdf(min(only_first, only_second), rows, 0.5))) if rows else 1.0


@dataclass(frozen=True)
class Figures:
    """Champion and challenger on the same rows.

    Attributes:
        rows: How many.
        metrics: Metric -> champion, challenger, difference (challenger - champion), low, high (its interval).
        only_champion, only_challenger: Rows that only one of them answers rightly.
        p_value: McNemar's exact test of those two.
    """

    rows: int
    metrics: dict[str, dict[str, float]]
    only_champion: int
    only_challenger: int
    p_value: float


@dataclass(frozen=True)
class Champion:
    """What is known of the champion, for the rules.

    Attributes:
        state: `none` (the first model of its name), `same` (the challenger is the champion already), `leaked` (it was
            trained on test rows), `unknown` (whether it was cannot be told), `compared`.
        detail: One sentence about the state.
        new_labels, gone_labels: Labels that only the challenger, only the champion knows.
        leaked_groups: Groups of the test rows that the champion was trained on.
        shared, all: Figures on the rows whose label both know, and on all.
        lost: Rows that the champion answers rightly and the challenger does not: text, label, predicted.
        sequence: How often the champion had been moved when it was met; 0: none yet.
    """

    state: str
    detail: str
    version: int | None = None
    digest: str | None = None
    new_labels: list[str] = field(default_factory=list)
    gone_labels: list[str] = field(default_factory=list)
    leaked_groups: int = 0
    shared: Figures | None = None
    all: Figures | None = None
    lost: list[dict[str, str]] = field(default_factory=list)
    sequence: int = 0


def compare(
    labels: Ints, champion: Ints, challenger: Ints, groups: Ints, classes: int, rules: ChampionRules
) -> Figures:
    """Both models' figures on the same rows, with intervals of the difference by bootstrap over groups.

    Args:
        labels, champion, challenger: Class ids in one numbering, shape (n,).
        groups: Equal within a group, same shape.
        classes: Size of the numbering.
        rules: Resamples, level and seed.
    """
    before = averages(confusion_matrix(labels, champion, classes))
    after = averages(confusion_matrix(labels, challenger, classes))
    between = bootstrap_difference(
        labels, champion, challenger, groups, classes, resamples=rules.bootstrap, level=rules.level, seed=rules.seed
    )
    was_right, is_right = champion == labels, challenger == labels
    lost, won = int((was_right & ~is_right).sum()), int((is_right & ~was_right).sum())
    return Figures(
        rows=len(labels),
        metrics={
            name: {
                "champion": before[name],
                "challenger": after[name],
                "difference": after[name] - before[name],
                "low": between[name][0],
                "high": between[name][1],
            }
            for name in before
        },
        only_champion=lost,
        only_challenger=won,
        p_value=mcnemar(lost, won),
    )


def numbered(*columns: list[str]) -> tuple[list[Ints], int]:
    """Columns of labels in one numbering, and how many labels there are."""
    known = {label: i for i, label in enumerate(sorted(set().union(*columns)))}
    return [np.array([known[label] for label in column], dtype=np.int64) for column in columns], len(known)
