"""One number that makes logits honest probabilities. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_ROWS = 30
TEMPERATURES = (0.1, 10.0)


def calibrate(logits: NDArray[np.floating], labels: NDArray[np.int64], default: float = 1.0) -> float:
    """The temperature that logits are divided by (Guo et al. 2017, On Calibration of Modern Neural Networks).

    Label smoothing and a mean over members leave probabilities too small, margins of an SVM are on no scale at all; one
    number mends that and no answer changes.

    Args:
        logits: Shape (n, classes).
        labels: Class ids, shape (n,); ids outside [0, classes) are left out.
        default: For fewer than MIN_ROWS rows.

    Returns:
        What gives the smallest log loss, within TEMPERATURES.
    """
    known = (labels >= 0) & (labels < logits.shape[-1])
    logits, labels = logits[known].astype(np.float64), labels[known]
    if len(labels) < MIN_ROWS:
        return default

    def log_loss(temperature: float) -> float:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]))

    low, high = (float(np.log(bound)) for bound in TEMPERATURES)
    grid = np.exp(np.linspace(low, high, 97))  # convex in 1/T, one number: a grid of 5 % steps is all that it takes
    return float(min(grid, key=log_loss))
