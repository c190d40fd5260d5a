from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from shipway.tasks.regression import figures

SOME = st.floats(-1e3, 1e3, width=32)


def of(truth: Any, predicted: Any) -> dict[str, float]:
    sums = figures.statistics(np.array(truth, float), np.array(predicted, float)).sum(axis=0, keepdims=True)
    return {name: float(value[0]) for name, value in figures.averages(sums).items()}


@given(st.lists(st.tuples(SOME, SOME), min_size=2, max_size=20))
def test_figures_are_those_of_scikit_learn(rows: list[tuple[float, float]]) -> None:
    truth, predicted = np.array(rows).T
    found = of(truth, predicted)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth, predicted))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, predicted))
    assert found["mean_error"] == pytest.approx((predicted - truth).mean(), abs=1e-9)
    if np.ptp(truth) > 1e-3:
        assert found["r2"] == pytest.approx(r2_score(truth, predicted), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("predicted", [[0.5, 0.5, 0.5], [0.5, 0.7, 0.5]])
def test_r2_of_one_number_is_1_for_exact_answers_and_else_0(predicted: list[float]) -> None:
    truth = [0.5, 0.5, 0.5]
    assert of(truth, predicted)["r2"] == r2_score(truth, predicted)


def test_r2_keeps_its_digits_where_large_numbers_differ_little() -> None:
    random = np.random.default_rng(0)
    truth = 1.7e9 + random.normal(0, 2, 1000)
    predicted = truth + random.normal(0, 1, 1000)
    assert of(truth, predicted)["r2"] == pytest.approx(r2_score(truth, predicted), rel=1e-6)


def test_a_part_whose_truth_is_one_number_far_from_the_others_is_constant() -> None:
    truth = np.array([0.0] * 5 + [7.3] * 7)
    statistics = figures.statistics(truth, truth + 0.1)
    assert figures.averages(statistics[5:].sum(axis=0)[None])["r2"][0] == 0


def test_no_rows_have_finite_figures() -> None:
    assert of([], []) == {"rmse": 0, "mae": 0, "r2": 0, "mean_error": 0}


def test_the_standard_error_of_an_rmse_is_what_many_samples_show() -> None:
    random = np.random.default_rng(1)
    errors = random.normal(0, 3, (4000, 200))
    observed = np.sqrt((errors**2).mean(axis=1)).std()
    told = [figures.rmse_stderr(200, float((e**2).sum()), float((e**4).sum())) for e in errors[:50]]
    assert np.mean(told) == pytest.approx(observed, rel=0.1)
    assert figures.rmse_stderr(10, 0.0, 0.0) == 0
    assert figures.rmse_stderr(10, 40.0, 160.0) == 0


@given(st.lists(st.floats(0, 10), max_size=20), st.floats(0, 10))
def test_the_share_within_a_bound_counts_rows_at_the_bound(sizes: list[float], bound: float) -> None:
    expected = np.mean([size <= bound for size in sizes]) if sizes else 1.0
    assert figures.share_within(np.sort(np.array(sizes, dtype=float)), bound) == expected


@given(st.integers(1, 50), st.integers(1, 60))
def test_rows_at_even_steps_have_both_ends(rows: int, most: int) -> None:
    chosen = figures.evenly(np.arange(rows), most).tolist()
    assert len(chosen) == len(set(chosen)) <= min(rows, most)
    assert chosen[0] == 0
    assert most == 1 or chosen[-1] == rows - 1
