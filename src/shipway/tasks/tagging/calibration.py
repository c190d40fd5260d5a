"""One number that makes the scores of all tags honest. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shipway.tasks.classification.calibration import MIN_ROWS, TEMPERATURES

MAX_CELLS = 4_000_000  # logits that are looked at: enough for one number


def calibrate(logits: NDArray[np.floating], labels: NDArray[np.floating], default: float = 1.0) -> float:
    """The temperature that logits are divided by (Guo et al. 2017, On Calibration of Modern Neural Networks).

    One for all tags, and no shift beside it: a rare tag has too few rows to tell more, and no score changes its side of
    0.5, where micro F1 is measured.

    Args:
        logits: Shape (n, tags).
        labels: 1 for each tag of the row, else 0; same shape.
        default: For fewer than MIN_ROWS rows.

    Returns:
        What gives the smallest binary cross-entropy, within TEMPERATURES.
    """
    if len(labels) < MIN_ROWS or not logits.shape[-1]:
        return default
    step = -(-logits.size // MAX_CELLS)
    values, sign = logits[::step].astype(np.float64), 1 - 2 * labels[::step].astype(np.float64)

    def loss(temperature: float) -> float:
        return float(np.mean(np.logaddexp(0, sign * values / temperature)))

    low, high = (float(np.log(bound)) for bound in TEMPERATURES)
    grid = np.exp(np.linspace(low, high, 97))  # convex in 1/T: steps of 5 % are all that it takes
    return float(min(grid, key=loss))
