"""Which model of a training is the best, and when no better one is hoped for. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shipway.tasks import Task
from shipway.training.checkpoint import LoopState
from shipway.training.spec import FitSpec, is_lower_better, watched_metric

if TYPE_CHECKING:
    from shipway.training.spec import EarlyStopping


@dataclass(frozen=True)
class Rule:
    """Which weights are the best, and when no better ones are hoped for.

    Attributes:
        metric: Name of a reported metric of the eval split.
        lower_is_better: Of that.
        stopping: None: the training goes on to its last step.
    """

    metric: str
    lower_is_better: bool
    stopping: EarlyStopping | None

    @classmethod
    def of(cls, spec: FitSpec, task: Task) -> Rule:
        """What a training of this task goes by."""
        watched = watched_metric(spec, task)
        return cls(watched, is_lower_better(task, watched), spec.early_stopping)


def judge(rule: Rule, state: LoopState, metrics: dict[str, float], sums: NDArray[np.float64]) -> bool:
    """Counts an evaluation towards early stopping; whether its weights are the best so far.

    Args:
        rule: By what.
        state: The loop's at the evaluation's step; noted are the metrics, the best ones, and whether it has finished.
        metrics: Of the evaluation.
        sums: That they were computed from.
    """
    stopping = rule.stopping
    value = -metrics[rule.metric] if rule.lower_is_better else metrics[rule.metric]
    state.metrics = metrics
    is_better = state.best_value is None or value > state.best_value + (stopping.min_delta if stopping else 0.0)
    # As good and surer of itself: better weights, though no reason to go on.
    is_surer = value == state.best_value and metrics["val_loss"] < state.best_metrics["val_loss"]
    if is_better or is_surer:
        state.best_value, state.best_step, state.best_metrics = value, state.step, metrics
        state.best_sums = sums.tolist()
    state.patience_used = 0 if is_better else state.patience_used + 1
    if stopping and state.patience_used >= stopping.patience:
        state.finished = True
    return is_better or is_surer
