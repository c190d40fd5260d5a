"""Figures of a regression, as functions of plain arrays and of sums over rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SUMS = 6  # what `statistics` gives of each row
_CONSTANT = 1e-12  # of the squares' sum: less variation than this is rounding


def statistics(truth: Floats, predicted: Floats) -> Floats:
    """What `averages` needs of each row, shape (n, SUMS): 1, error, its size and square, truth and its square.

    Truth is counted from its median: no figure depends on where, and squares of large numbers that differ little would
    leave nothing of their difference.
    """
    error, truth = predicted - truth, truth - (np.median(truth) if len(truth) else 0.0)
    return np.column_stack([np.ones(len(truth)), error, np.abs(error), error**2, truth, truth**2])


def averages(sums: Floats) -> dict[str, Floats]:
    """rmse, mae, r2 and mean_error from sums of `statistics`, shape (m, SUMS) -> (m,) each; 0 of no rows.

    r2 is 1 - squared error / squared distance from the mean; where all truth is one number 1 for exact answers, else 0,
    as scikit-learn's `force_finite`.
    """
    count, error, size, squared, truth, truth_squared = sums.T
    rows = np.maximum(count, 1)
    spread = truth_squared - truth**2 / rows
    varies = spread > _CONSTANT * truth_squared
    r2 = 1 - squared / np.where(varies, spread, 1.0)
    exact = np.where((squared == 0) & (count > 0), 1.0, 0.0)
    return {
        "rmse": np.sqrt(squared / rows),
        "mae": size / rows,
        "r2": np.where(varies, r2, exact),
        "mean_error": error / rows,
    }


def rmse_stderr(rows: float, squared: float, quartic: float) -> float:
    """Standard error of the root mean squared error, by the delta method; 0 where errors do not vary.

    Args:
        rows: How many.
        squared: Sum of squared errors.
        quartic: Sum of their squares.
    """
    mean = squared / rows
    variance = max(quartic / rows - mean**2, 0.0) / rows
    return float(np.sqrt(variance) / (2 * np.sqrt(mean))) if mean > 0 else 0.0


def share_within(sizes: Floats, bound: float) -> float:
    """Share of rows whose error is at most `bound`, given all sizes in ascending order; 1 of no rows."""
    return float(np.searchsorted(sizes, bound, side="right") / len(sizes)) if len(sizes) else 1.0


def evenly(order: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Up to `most` of the rows at even steps of an order, its ends among them."""
    return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.intp))]
