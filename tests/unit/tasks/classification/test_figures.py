from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from shipway.errors import InvalidData
from shipway.tasks.classification import figures

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
    counts = figures.confusion_matrix(labels, predictions, CLASSES)
    np.testing.assert_array_equal(counts, sk.confusion_matrix(labels, predictions, labels=range(CLASSES)))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predictions, labels=range(CLASSES), zero_division=0
    )
    scores = figures.class_scores(counts)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.f1, f1)
    np.testing.assert_array_equal(scores.support, support)
    found = figures.averages(counts)
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
    assert figures.log_loss(probabilities[np.arange(n), labels]) == pytest.approx(expected, rel=1e-4)


def test_a_true_class_without_any_probability_costs_a_finite_loss() -> None:
    assert figures.log_loss(np.array([0.0])) == pytest.approx(15.94, abs=0.01)


def test_calibration_error_by_hand() -> None:
    # Two bins of two: (0, 0.5] holds 0.2 and 0.4, one right; (0.5, 1] holds 0.8 and 1.0, both right.
    found = figures.calibration(np.array([0.2, 0.4, 0.8, 1.0]), np.array([True, False, True, True]), bins=2)
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
    assert figures.calibration(confidence, right, bins).ece == pytest.approx(expected, abs=1e-9)


def test_a_class_id_out_of_range_names_the_first_row() -> None:
    with pytest.raises(InvalidData, match="label of row 1: expected a class from 0 to 2, got 7"):
        figures.confusion_matrix(np.array([0, 7, 9]), np.array([0, 0, 0]), 3)


def test_worst_confusions_come_largest_first_and_leave_out_what_is_right() -> None:
    counts = np.array([[50, 3, 0], [1, 40, 9], [0, 0, 30]])
    assert figures.worst_confusions(counts, 10) == [(1, 2, 9), (0, 1, 3), (1, 0, 1)]
    assert figures.worst_confusions(counts, 1) == [(1, 2, 9)]
