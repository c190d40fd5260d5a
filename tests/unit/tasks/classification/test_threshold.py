from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.tasks.classification.threshold import ThresholdRule, calibrate, coverage_at, curve


@given(st.integers(1, 200), st.floats(0.5, 1.0), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_the_share_of_right_rows_that_was_asked_for_stays_above(n: int, coverage: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence = random.random(n).astype(np.float32)
    right = random.random(n) < 0.8
    threshold = calibrate(confidence, right, ThresholdRule(coverage=coverage))
    if right.any():
        assert (confidence[right] >= threshold).mean() >= coverage - 1e-9
        # ... and it is the highest such: a step further loses one more.
        above = np.sort(confidence[right & (confidence > threshold + 2e-6)])
        if len(above):
            assert (confidence[right] >= above[0] + 1e-6).mean() < coverage + 1e-9
    else:
        assert threshold == 0


def test_an_accuracy_asked_for_raises_the_threshold_until_it_is_reached() -> None:
    confidence = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    right = np.array([False, True, False, True, False, True, True, True])
    threshold = calibrate(confidence, right, ThresholdRule(coverage=0.9, accuracy=0.99))
    assert coverage_at(confidence, right, threshold) == (3 / 8, 1.0)
    assert threshold == pytest.approx(0.7, abs=1e-5)


def test_an_accuracy_out_of_reach_takes_the_best_there_is() -> None:
    confidence = np.array([0.2, 0.5, 0.8])
    right = np.array([False, True, False])
    assert calibrate(confidence, right, ThresholdRule(coverage=0.9, accuracy=1.0)) == pytest.approx(0.5, abs=1e-5)


def test_the_curve_goes_from_all_rows_to_the_surest() -> None:
    confidence = np.array([0.2, 0.4, 0.4, 0.9])
    right = np.array([False, True, False, True])
    assert curve(confidence, right) == [[0.2, 1.0, 0.5], [0.4, 0.75, pytest.approx(2 / 3)], [0.9, 0.25, 1.0]]
    assert len(curve(np.random.default_rng(0).random(1000), np.ones(1000, dtype=bool), points=50)) == 50


def test_no_rows_above_the_threshold_is_said_without_dividing_by_zero() -> None:
    assert coverage_at(np.array([0.1]), np.array([True]), 0.5) == (0.0, 1.0)
