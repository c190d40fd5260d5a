from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from shipway.components.evaluate import core
from shipway.errors import InvalidData

CLASSES = 5
ids = st.integers(0, CLASSES - 1)


@st.composite
def answered(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    n = draw(st.integers(1, 60))
    shape = arrays(np.int64, n, elements=ids)
    return draw(shape), draw(shape)


@given(answered())
@settings(deadline=None, max_examples=60)
def test_averages_and_class_scores_are_scikit_learns(pair: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    labels, predictions = pair
    counts = core.confusion_matrix(labels, predictions, CLASSES)
    np.testing.assert_array_equal(counts, sk.confusion_matrix(labels, predictions, labels=range(CLASSES)))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predictions, labels=range(CLASSES), zero_division=0
    )
    scores = core.class_scores(counts)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.f1, f1)
    np.testing.assert_array_equal(scores.support, support)
    found = core.averages(counts)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(labels, predictions, average="macro", zero_division=0))
    assert found["weighted_f1"] == pytest.approx(sk.f1_score(labels, predictions, average="weighted", zero_division=0))


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_log_loss_is_scikit_learns(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(CLASSES), size=n).astype(np.float32).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = random.integers(0, CLASSES, n)
    expected = sk.log_loss(labels, probabilities, labels=range(CLASSES))
    assert core.log_loss(probabilities[np.arange(n), labels]) == pytest.approx(expected, rel=1e-4)


def test_a_true_class_without_any_probability_costs_a_finite_loss() -> None:
    assert core.log_loss(np.array([0.0])) == pytest.approx(15.94, abs=0.01)


def test_calibration_error_by_hand() -> None:
    # Two bins of two: (0, 0.5] holds 0.2 and 0.4, one right; (0.5, 1] holds 0.8 and 1.0, both right.
    found = core.calibration(np.array([0.2, 0.4, 0.8, 1.0]), np.array([True, False, True, True]), bins=2)
    assert found.bins == [[0, 0.5, 2, pytest.approx(0.3), 0.5], [0.5, 1, 2, pytest.approx(0.9), 1]]
    assert found.ece == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


@given(st.integers(1, 200), st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_calibration_error_is_its_definition_row_by_row(n: int, bins: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence, right = random.random(n), random.random(n) < 0.7
    expected = 0.0
    for i in range(bins):
        inside = (confidence > i / bins) & (confidence <= (i + 1) / bins) | ((i == 0) & (confidence == 0))
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert core.calibration(confidence, right, bins).ece == pytest.approx(expected, abs=1e-9)


def test_a_class_id_out_of_range_names_the_first_row() -> None:
    with pytest.raises(InvalidData, match="label of row 1 is class 7; expected 0 to 2"):
        core.confusion_matrix(np.array([0, 7, 9]), np.array([0, 0, 0]), 3)


def test_worst_confusions_come_largest_first_and_leave_out_what_is_right() -> None:
    counts = np.array([[50, 3, 0], [1, 40, 9], [0, 0, 30]])
    assert core.worst_confusions(counts, 10) == [(1, 2, 9), (0, 1, 3), (1, 0, 1)]
    assert core.worst_confusions(counts, 1) == [(1, 2, 9)]


def _rows(n: int, seed: int, accuracy: float = 0.8) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, n)
    return labels, np.where(random.random(n) < accuracy, labels, random.integers(0, CLASSES, n))


def test_intervals_of_single_rows_agree_with_the_normal_approximation() -> None:
    labels, predictions = _rows(2000, 1)
    found = core.bootstrap(labels, predictions, np.arange(2000), CLASSES, resamples=2000, level=0.95, seed=0)
    accuracy = (labels == predictions).mean()
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert found["accuracy"] == pytest.approx((accuracy - half, accuracy + half), abs=0.003)


def test_rows_that_come_in_groups_give_wider_intervals() -> None:
    labels, predictions = _rows(200, 2)
    groups = np.repeat(np.arange(200), 10)
    labels, predictions = np.repeat(labels, 10), np.repeat(predictions, 10)
    settings = {"resamples": 500, "level": 0.95, "seed": 0}
    by_row = core.bootstrap(labels, predictions, np.arange(2000), CLASSES, **settings)["accuracy"]  # type: ignore[arg-type]
    by_group = core.bootstrap(labels, predictions, groups, CLASSES, **settings)["accuracy"]  # type: ignore[arg-type]
    assert (by_group[1] - by_group[0]) > 2.5 * (by_row[1] - by_row[0])


def test_bootstrap_draws_are_those_of_resampling_rows_by_hand() -> None:
    labels, predictions = _rows(60, 3)
    groups = np.random.default_rng(0).integers(0, 20, 60)
    low, high = core.bootstrap(labels, predictions, groups, CLASSES, resamples=1, level=0.95, seed=11)["macro_f1"]
    assert low == high
    known, places = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(11).integers(0, len(known), size=(1, len(known)))[0]
    rows = np.concatenate([np.flatnonzero(places == g) for g in drawn])
    expected = core.averages(core.confusion_matrix(labels[rows], predictions[rows], CLASSES))
    assert low == pytest.approx(expected["macro_f1"])


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, predictions = _rows(300, 4)

    def intervals() -> Any:
        return core.bootstrap(labels, predictions, np.arange(300), CLASSES, resamples=50, level=0.9, seed=5)

    whole = intervals()
    monkeypatch.setattr(core, "_BLOCK", 1000)
    assert intervals() == whole


def test_a_difference_of_models_is_sharper_than_the_difference_of_their_intervals() -> None:
    labels, first = _rows(2000, 5)
    second = first.copy()
    wrong = np.flatnonzero(first != labels)[:60]
    second[wrong] = labels[wrong]
    low, high = core.bootstrap_difference(
        labels, first, second, np.arange(2000), CLASSES, resamples=1000, level=0.95, seed=0
    )["accuracy"]
    assert 0.02 < low < 0.03 < high < 0.04
