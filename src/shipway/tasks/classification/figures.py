"""Figures of a classifier, as functions of plain arrays. Class ids count from 0; `counts` is a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.errors import InvalidData

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_EPSILON = float(np.finfo(np.float32).eps)


def confusion_matrix(labels: Ints, predictions: Ints, classes: int) -> Ints:
    """Counts of (true, predicted) pairs.

    Args:
        labels: True class ids, shape (n,), in [0, classes).
        predictions: Predicted class ids, same shape.
        classes: Number of classes.

    Returns:
        Counts, shape (classes, classes); rows are true classes.

    Raises:
        InvalidData: an id is outside [0, classes); names the first position.
    """
    for what, ids in (("label", labels), ("prediction", predictions)):
        outside = (ids < 0) | (ids >= classes)
        if outside.any():
            row = int(outside.argmax())
            raise InvalidData(
                field=f"{what} of row {row}", given=int(ids[row]), allowed=f"a class from 0 to {classes - 1}"
            )
    pairs = labels.astype(np.int64) * classes + predictions
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class ClassScores:
    """Arrays of shape (classes,); a score without a denominator is 0, as scikit-learn's `zero_division=0`."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints


def class_scores(counts: Ints) -> ClassScores:
    """Precision, recall, F1 and support of each class."""
    right, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return ClassScores(
        _ratio(right, predicted), _ratio(right, support), _ratio(2 * right, support + predicted), support
    )


def averages(counts: Ints) -> dict[str, float]:
    """accuracy, macro_f1 (over classes that occur or are predicted) and weighted_f1 (by support)."""
    right, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return {name: float(value[0]) for name, value in averages_of(right[None], support[None], predicted[None]).items()}


def averages_of(right: NDArray[Any], support: NDArray[Any], predicted: NDArray[Any]) -> dict[str, Floats]:
    """The averages of many matrices at once, given their diagonals and margins, shape (n, classes) each."""
    f1 = _ratio(2 * right, support + predicted)
    seen = (support + predicted) > 0
    total = support.sum(axis=1)
    return {
        "accuracy": _ratio(right.sum(axis=1), total),
        "macro_f1": _ratio(f1.sum(axis=1), seen.sum(axis=1)),
        "weighted_f1": _ratio((f1 * support).sum(axis=1), total),
    }


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    result: Floats = np.zeros(np.shape(above), dtype=np.float64)
    np.divide(above, below, out=result, where=np.asarray(below) > 0)
    return result


def with_left_out(right: NDArray[np.bool_], unknown: NDArray[np.bool_], left_out: int) -> dict[str, float]:
    """accuracy_all_rows and unknown_label_rate: rows that prep left out count as wrong answers of unknown labels.

    Args:
        right: Whether each scored row was answered rightly, shape (n,).
        unknown: Whether its label is one that the model never saw, same shape.
        left_out: Rows of the split that were not scored, as train has none of their labels.
    """
    total = max(len(right) + left_out, 1)
    return {
        "accuracy_all_rows": float(right.sum() / total),
        "unknown_label_rate": float((unknown.sum() + left_out) / total),
    }


def log_loss(label_probability: NDArray[Any]) -> float:
    """Mean of -log(probability of the true class), clipped at float32's resolution as scikit-learn does."""
    clipped = np.clip(label_probability.astype(np.float64), _EPSILON, 1 - _EPSILON)
    return float(-np.log(clipped).mean()) if len(clipped) else 0.0


@dataclass(frozen=True)
class Calibration:
    """`ece`, and one row by bin that holds any: [low, high, rows, mean confidence, accuracy]."""

    ece: float
    bins: list[list[float]]


def calibration(confidence: NDArray[Any], right: NDArray[np.bool_], bins: int = 15) -> Calibration:
    """Expected calibration error of the top label.

    ECE = sum over bins of (rows in bin / rows) * |accuracy - mean confidence|, with equally wide bins
    (low, high] over [0, 1]; 0 belongs to the first (Guo et al. 2017, "On Calibration of Modern Neural Networks",
    equation 3; 15 bins as there).

    Args:
        confidence: Probability of the predicted class, shape (n,).
        right: Whether the prediction is right, same shape.
        bins: Number of bins.
    """
    place = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    mean = _ratio(np.bincount(place, weights=confidence, minlength=bins), rows)
    accuracy = _ratio(np.bincount(place, weights=right, minlength=bins), rows)
    ece = float((rows * np.abs(accuracy - mean)).sum() / max(len(confidence), 1))
    table = [
        [i / bins, (i + 1) / bins, float(rows[i]), float(mean[i]), float(accuracy[i])] for i in range(bins) if rows[i]
    ]
    return Calibration(ece, table)


def worst_confusions(counts: Ints, limit: int) -> list[tuple[int, int, int]]:
    """(true, predicted, rows) of the most frequent errors, the largest first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [(int(i) // len(counts), int(i) % len(counts)) for i in order]
    return [(i, j, int(wrong[i, j])) for i, j in pairs if wrong[i, j]]
