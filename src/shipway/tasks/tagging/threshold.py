"""The score from which an endpoint names a tag: one for all tags, found on the eval split.

A threshold for each tag fits a rare tag's few rows rather than the tag: where a model knows nothing of it, the best one
on these rows names it everywhere (Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize
F1 Measure").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shipway.specs import Spec
from shipway.tasks.classification.threshold import SLACK

_LEAST = 1e-7
FLOOR = 0.02  # lower scores are no candidates, so that of many tags a row keeps few


class ThresholdRule(Spec):
    """How the threshold is found on the eval split."""

    precision: Annotated[float, Field(gt=0, le=1)] | None = None
    """The lowest threshold from which on this share of the named tags is right; null: where micro F1 is highest, in the
    middle (of log-odds) between the scores that it divides."""


@dataclass(frozen=True)
class Candidates:
    """Tags of all rows that a threshold decides on.

    Attributes:
        scores: Of those from FLOOR on, float32, shape (m,).
        is_right: Whether the row has the tag, same shape.
        true: Tags that the rows have, named or not.
    """

    scores: NDArray[np.float32]
    is_right: NDArray[np.bool_]
    true: int

    def by_threshold(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Every distinct score, ascending; how many tags are named from it on, and how many of those rightly."""
        order = np.argsort(self.scores)
        scores, right = self.scores[order], self.is_right[order][::-1].cumsum()[::-1]
        first = np.flatnonzero(np.diff(scores, prepend=np.float32(np.nan)) != 0)  # equal scores are one threshold
        return scores[first].astype(np.float64), len(scores) - first, right[first]


def calibrate(candidates: Candidates, rule: ThresholdRule) -> float | None:
    """The threshold; of the best precision where none reaches what is asked for; None where nothing is right."""
    values, named, right = candidates.by_threshold()
    if not len(values) or not right[0]:
        return None
    precision = right / named
    if rule.precision is None:
        place = int((2 * right / (named + candidates.true)).argmax())
        # The lowest score that is named is the least sure of these rows alone: of others, tags as good lie below it.
        below = float(values[place - 1]) if place else FLOOR
        return max(_middle(below, float(values[place])), float(np.nextafter(np.float32(below), np.float32(1))))
    enough = np.flatnonzero(precision >= rule.precision)
    place = int(enough[0] if len(enough) else precision.argmax())
    return max(0.0, float(values[place]) - SLACK)


def _middle(low: float, high: float) -> float:
    """Between two probabilities, of log-odds; half-way between 0 and 1 is 0.5 however near to them they are."""
    ends = (min(max(value, _LEAST), 1 - _LEAST) for value in (low, high))
    return 1 / (1 + math.exp(-sum(math.log(value / (1 - value)) for value in ends) / 2))


def at(candidates: Candidates, threshold: float) -> tuple[float, float, float]:
    """Micro F1, precision and recall of what is named from a threshold on; 0 where there is nothing to divide by."""
    is_named = candidates.scores >= np.float32(threshold)
    named, right = int(is_named.sum()), int(candidates.is_right[is_named].sum())
    return (
        2 * right / (named + candidates.true) if named + candidates.true else 0.0,
        right / named if named else 0.0,
        right / candidates.true if candidates.true else 0.0,
    )


def curve(candidates: Candidates, points: int = 50) -> list[list[float]]:
    """[threshold, precision, recall] at up to `points` thresholds, from the lowest to the highest score."""
    values, named, right = candidates.by_threshold()
    if not len(values):
        return []
    wanted = np.unique(np.linspace(0, len(values) - 1, points).round().astype(np.int64))
    return [[float(values[i]), float(right[i] / named[i]), float(right[i] / max(candidates.true, 1))] for i in wanted]
