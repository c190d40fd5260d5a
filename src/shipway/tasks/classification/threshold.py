"""The out-of-scope threshold: an answer less sure than this is "none of these".

Without examples of what is out of scope, the threshold is set by what in-scope rows may be lost: a share of the
rightly answered rows of the eval split stays above it (Hendrycks and Gimpel 2017 reject by the top softmax
probability at a fixed true acceptance rate), and, if asked for, the rows above it reach an accuracy (selective
classification: Geifman and El-Yaniv 2017).
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shipway.specs import Spec

# Served probabilities may differ from ours in the last digits; a row at the threshold must not change sides for it.
SLACK = 1e-6


class ThresholdRule(Spec):
    """How the out-of-scope threshold is found on the eval split; an answer below it is "none of these"."""

    coverage: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Share of the rightly answered rows that must stay at or above the threshold (the true acceptance rate)."""
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Raises the threshold further, until the rows at or above it are answered this well."""


def calibrate(confidence: NDArray[Any], right: NDArray[np.bool_], rule: ThresholdRule) -> float:
    """The threshold on the top probability; 0 where no row is answered rightly.

    Args:
        confidence: Probability of the predicted class by row, shape (n,).
        right: Whether the prediction is right, same shape.
        rule: What must hold on these rows.
    """
    sure = np.sort(confidence[right].astype(np.float64))
    if not len(sure):
        return 0.0
    threshold = (
        float(sure[int(np.floor((1 - rule.coverage) * len(sure) + 1e-9))]) if rule.coverage < 1 else float(sure[0])
    )
    if rule.accuracy is not None:
        threshold = max(threshold, _reaching(confidence, right, rule.accuracy))
    return max(0.0, threshold - SLACK)


def _reaching(confidence: NDArray[Any], right: NDArray[np.bool_], accuracy: float) -> float:
    """The lowest threshold at which the rows kept reach `accuracy`; of the best accuracy where none does."""
    values, kept, kept_right = _by_threshold(confidence, right)
    reached = kept_right / kept
    enough = np.flatnonzero(reached >= accuracy)
    return float(values[enough[0] if len(enough) else reached.argmax()])


def coverage_at(confidence: NDArray[Any], right: NDArray[np.bool_], threshold: float) -> tuple[float, float]:
    """Share of rows at or above the threshold, and the accuracy on them (1 where there are none)."""
    kept = confidence >= threshold
    return float(kept.mean()) if len(kept) else 0.0, float(right[kept].mean()) if kept.any() else 1.0


def curve(confidence: NDArray[Any], right: NDArray[np.bool_], points: int = 50) -> list[list[float]]:
    """[threshold, coverage, accuracy] at up to `points` thresholds, from all rows to the surest."""
    if not len(confidence):
        return []
    values, kept, kept_right = _by_threshold(confidence, right)
    wanted = np.unique(np.linspace(0, len(values) - 1, points).round().astype(np.int64))
    return [[float(values[i]), float(kept[i] / len(confidence)), float(kept_right[i] / kept[i])] for i in wanted]


def _by_threshold(
    confidence: NDArray[Any], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Every distinct confidence, ascending; how many rows are at or above it, and how many of those are right."""
    values, place = np.unique(confidence.astype(np.float64), return_inverse=True)
    rows = np.bincount(place, minlength=len(values))
    good = np.bincount(place, weights=right, minlength=len(values)).astype(np.int64)
    return values, rows[::-1].cumsum()[::-1], good[::-1].cumsum()[::-1]
