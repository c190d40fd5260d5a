from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from shipway.tasks.tagging.threshold import FLOOR, Candidates, ThresholdRule, at, calibrate, curve


def drawn(n: int, seed: int) -> Candidates:
    random = np.random.default_rng(seed)
    scores = random.uniform(FLOOR, 1, n).round(2).astype(np.float32)
    right = random.random(n) < scores
    return Candidates(scores, right, int(right.sum()) + int(random.integers(0, 5)))


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_no_other_threshold_has_a_higher_f1(n: int, seed: int) -> None:
    found = drawn(n, seed)
    threshold = calibrate(found, ThresholdRule())
    if not found.is_right.any():
        assert threshold is None
        return
    assert threshold is not None
    others = [at(found, value)[0] for value in np.linspace(FLOOR, 1, 197)]
    assert at(found, threshold)[0] >= max(others) - 1e-9


@pytest.mark.parametrize(
    ("scores", "right", "threshold"),
    [
        ([0.97, 0.99, 1.0], [True, True, True], 0.448),  # down to FLOOR nothing says where tags end
        ([0.2, 0.8, 0.9], [False, True, True], 0.5),
        ([0.01, 0.02, 1.0], [False, False, True], None),
        ([0.5, 0.5], [False, True], 0.125),
    ],
)
def test_of_thresholds_that_are_as_good_here_the_middle_one_is_taken(
    scores: list[float], right: list[bool], threshold: float | None
) -> None:
    found = Candidates(np.array(scores, np.float32), np.array(right), sum(right))
    given = calibrate(found, ThresholdRule())
    assert given is not None
    assert threshold is None or given == pytest.approx(threshold, abs=1e-3)
    assert (
        scores[right.index(True)]
        >= given
        > max([s for s, r in zip(scores, right, strict=True) if not r and s < 0.5], default=0)
    )


def test_figures_at_a_threshold_are_scikit_learns_and_count_tags_that_are_no_candidates() -> None:
    found = drawn(100, 3)
    named = found.scores >= np.float32(0.4)
    missed = found.true - int(found.is_right.sum())
    truth = np.concatenate([found.is_right, np.ones(missed, dtype=bool)])
    answered = np.concatenate([named, np.zeros(missed, dtype=bool)])
    assert at(found, 0.4) == pytest.approx(
        (sk.f1_score(truth, answered), sk.precision_score(truth, answered), sk.recall_score(truth, answered))
    )


def test_a_precision_asked_for_gives_the_lowest_threshold_that_reaches_it() -> None:
    scores = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], dtype=np.float32)
    right = np.array([False, True, False, True, False, True, True, True])
    found = Candidates(scores, right, 5)
    assert calibrate(found, ThresholdRule(precision=0.8)) == pytest.approx(0.5, abs=1e-5)
    assert at(found, 0.5)[1] == pytest.approx(0.8)
    hopeless = Candidates(scores[:3], right[:3], 5)
    assert calibrate(hopeless, ThresholdRule(precision=1.0)) == pytest.approx(0.3, abs=1e-5)


def test_without_candidates_there_is_neither_threshold_nor_curve() -> None:
    none = Candidates(np.empty(0, np.float32), np.empty(0, bool), 3)
    assert calibrate(none, ThresholdRule()) is None
    assert curve(none) == []
    assert at(none, 0.5) == (0.0, 0.0, 0.0)


def test_the_curve_goes_from_all_candidates_to_the_surest() -> None:
    found = Candidates(np.array([0.25, 0.5, 0.5, 0.75], np.float32), np.array([False, True, False, True]), 4)
    assert curve(found) == [[0.25, 0.5, 0.5], [0.5, pytest.approx(2 / 3), 0.5], [0.75, 1.0, 0.25]]
