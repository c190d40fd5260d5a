"""Intervals and comparisons of figures that are sums over rows, with a classifier's averages as the example."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import binomtest

from shipway import measuring
from shipway.tasks.classification.evaluation import ClassificationEvaluation
from shipway.tasks.classification.figures import averages, confusion_matrix

CLASSES = 5
NAMES = [f"c{i}" for i in range(CLASSES)]
METRICS = ClassificationEvaluation().metrics


def statistics(labels: Any, predictions: Any) -> csr_array:
    rows = pl.DataFrame({"label": [NAMES[i] for i in labels], "predicted": [NAMES[i] for i in predictions]})
    return ClassificationEvaluation().statistics(rows, NAMES)


def bootstrap(labels: Any, predictions: Any, groups: Any, **settings: Any) -> dict[str, tuple[float, float]]:
    return measuring.intervals(statistics(labels, predictions), groups, METRICS, **settings)


@given(st.integers(0, 200), st.integers(0, 200))
@settings(deadline=None, max_examples=80)
def test_the_sign_test_is_the_exact_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert measuring.sign_test(first, second) == pytest.approx(expected)


def test_figures_of_all_rows_and_of_parts_are_those_of_the_confusion_matrix() -> None:
    labels, predictions = _rows(300, 6)
    found = statistics(labels, predictions)
    assert measuring.figures(found, METRICS) == averages(confusion_matrix(labels, predictions, CLASSES))
    part = np.random.default_rng(1).integers(-1, 3, 300)
    by_part = measuring.figures_of_parts(found, part, 4, METRICS)
    for i in range(3):
        expected = averages(confusion_matrix(labels[part == i], predictions[part == i], CLASSES))
        assert {name: value[i] for name, value in by_part.items()} == expected
    assert by_part["accuracy"][3] == 0  # a part without rows


def _rows(n: int, seed: int, accuracy: float = 0.8) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, n)
    return labels, np.where(random.random(n) < accuracy, labels, random.integers(0, CLASSES, n))


def test_intervals_of_single_rows_agree_with_the_normal_approximation() -> None:
    labels, predictions = _rows(2000, 1)
    found = bootstrap(labels, predictions, np.arange(2000), resamples=2000, level=0.95, seed=0)
    accuracy = (labels == predictions).mean()
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert found["accuracy"] == pytest.approx((accuracy - half, accuracy + half), abs=0.003)


def test_rows_that_come_in_groups_give_wider_intervals() -> None:
    labels, predictions = _rows(200, 2)
    groups = np.repeat(np.arange(200), 10)
    labels, predictions = np.repeat(labels, 10), np.repeat(predictions, 10)
    settings = {"resamples": 500, "level": 0.95, "seed": 0}
    by_row = bootstrap(labels, predictions, np.arange(2000), **settings)["accuracy"]  # type: ignore[arg-type]
    by_group = bootstrap(labels, predictions, groups, **settings)["accuracy"]  # type: ignore[arg-type]
    assert (by_group[1] - by_group[0]) > 2.5 * (by_row[1] - by_row[0])


def test_bootstrap_draws_are_those_of_resampling_rows_by_hand() -> None:
    labels, predictions = _rows(60, 3)
    groups = np.random.default_rng(0).integers(0, 20, 60)
    low, high = bootstrap(labels, predictions, groups, resamples=1, level=0.95, seed=11)["macro_f1"]
    assert low == high
    known, places = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(11).integers(0, len(known), size=(1, len(known)))[0]
    rows = np.concatenate([np.flatnonzero(places == g) for g in drawn])
    expected = averages(confusion_matrix(labels[rows], predictions[rows], CLASSES))
    assert low == pytest.approx(expected["macro_f1"])


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, predictions = _rows(300, 4)

    def intervals() -> Any:
        return bootstrap(labels, predictions, np.arange(300), resamples=50, level=0.9, seed=5)

    whole = intervals()
    monkeypatch.setattr(measuring, "_BLOCK", 1000)
    assert intervals() == whole


def test_a_difference_of_models_is_sharper_than_the_difference_of_their_intervals() -> None:
    labels, first = _rows(2000, 5)
    second = first.copy()
    wrong = np.flatnonzero(first != labels)[:60]
    second[wrong] = labels[wrong]
    low, high = measuring.difference_intervals(
        statistics(labels, first), statistics(labels, second), np.arange(2000), METRICS,
        resamples=1000, level=0.95, seed=0,
    )["accuracy"]  # fmt: skip
    assert 0.02 < low < 0.03 < high < 0.04
