"""Champion and challenger on the same rows: figures, the interval of the difference, the exact sign test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway import measuring
from shipway.components.promote.spec import ChampionRules
from shipway.tasks import Task


@dataclass(frozen=True)
class Figures:
    """Champion and challenger on the same rows.

    Attributes:
        rows: How many.
        metrics: Metric -> champion, challenger, difference (challenger - champion), low, high (its interval).
        only_champion, only_challenger: Rows that one of them answers better than the other.
        p_value: The exact sign test of those two.
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
        state: `none` (the first model of its name), `same` (the challenger is the champion already), `other` (it gives
            another kind of answer, or takes another input), `leaked` (it was trained on test rows), `unknown` (whether
            it was cannot be told), `compared`.
        detail: One sentence about the state.
        new_labels, gone_labels: Labels that only the challenger, only the champion knows.
        leaked_groups: Groups of the test rows that the champion was trained on.
        shared, all: Figures on the rows whose labels both know, and on all.
        lost: Rows that the champion answers better: what the row is, its label, and the challenger's answer.
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
    task: Task,
    champion: pl.DataFrame,
    challenger: pl.DataFrame,
    classes: Sequence[str],
    rules: ChampionRules,
    kept: NDArray[np.bool_] | None = None,
) -> Figures:
    """Both models' figures on the same rows, with intervals of the difference by bootstrap over groups.

    Args:
        task: Of both.
        champion, challenger: `label`, `group_hash` and what the task says of each prediction.
        classes: All that occur, in one numbering.
        rules: Resamples, level and seed.
        kept: The rows to compare on; None: all.
    """
    if kept is not None:
        champion, challenger = champion.filter(pl.Series(kept)), challenger.filter(pl.Series(kept))
    asked = task.evaluation
    first, second = asked.statistics(champion, classes), asked.statistics(challenger, classes)
    before, after = measuring.figures(first, asked.metrics), measuring.figures(second, asked.metrics)
    between = measuring.difference_intervals(
        first, second, measuring.group_numbers(challenger["group_hash"]), asked.metrics,
        resamples=rules.bootstrap, level=rules.level, seed=rules.seed,
    )  # fmt: skip
    was, now = asked.credit(champion), asked.credit(challenger)
    lost, won = int((was > now).sum()), int((now > was).sum())
    return Figures(
        rows=len(challenger),
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
        p_value=measuring.sign_test(lost, won),
    )
