"""One number that makes probabilities honest and changes no answer."""

from __future__ import annotations

import numpy as np
import pytest

from shipway.tasks.classification.calibration import calibrate


@pytest.mark.parametrize("wrong_by", [0.3, 1.0, 3.0])
def test_logits_of_a_wrong_scale_are_brought_back(wrong_by: float) -> None:
    draw = np.random.default_rng(3)
    logits = draw.normal(0, 2, (8000, 5)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([draw.choice(5, p=row / row.sum()) for row in shares.astype(np.float64)])
    assert calibrate(logits * wrong_by, labels) == pytest.approx(wrong_by, rel=0.15)


def test_a_handful_of_rows_or_unknown_labels_calibrate_nothing() -> None:
    assert calibrate(np.ones((5, 3), np.float32), np.zeros(5, np.int64)) == 1.0
    assert calibrate(np.ones((500, 3), np.float32), np.full(500, -1)) == 1.0
