from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from shipway import measuring
from shipway.tasks.tagging import figures
from shipway.tasks.tagging.calibration import calibrate

CLASSES = ["a", "b", "c", "d"]


def lists(hot: np.ndarray[Any, Any]) -> pl.Series:
    return pl.Series([[CLASSES[i] for i in np.flatnonzero(row)] for row in hot], dtype=pl.List(pl.String))


def drawn(n: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    return random.random((n, 4)) < 0.4, random.random((n, 4)) < random.random()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_figures_of_sums_are_scikit_learns(n: int, seed: int) -> None:
    truth, named = drawn(n, seed)
    sums = figures.statistics(figures.multi_hot(lists(truth), CLASSES), figures.multi_hot(lists(named), CLASSES))
    assert sums.shape == (n, 14)
    found = measuring.figures(sums, figures.averages)
    averaged: dict[str, Any] = {"average": "micro", "zero_division": 0}
    assert found["micro_f1"] == pytest.approx(sk.f1_score(truth, named, **averaged))
    assert found["micro_precision"] == pytest.approx(sk.precision_score(truth, named, **averaged))
    assert found["micro_recall"] == pytest.approx(sk.recall_score(truth, named, **averaged))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(truth, named))
    assert found["hamming_loss"] == pytest.approx(sk.hamming_loss(truth, named))
    if (truth | named).any():  # a tag that nobody has and nobody is given is in no mean
        macro = sk.f1_score(truth, named, average="macro", zero_division=np.nan)
        assert found["macro_f1"] == pytest.approx(macro)
    credit = figures.jaccard(lists(truth), lists(named))
    expected = [
        1.0 if not (t | p).any() else sk.jaccard_score(t, p, zero_division=0) for t, p in zip(truth, named, strict=True)
    ]
    assert credit.tolist() == pytest.approx(expected)


def test_figures_of_no_rows_are_finite() -> None:
    assert {float(value[0]) for value in figures.averages(np.zeros((1, 14))).values()} == {0.0}


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_average_precision_is_scikit_learns_also_with_ties(n: int, seed: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    scores = (random.integers(0, steps + 1, n) / steps).astype(np.float32)
    is_true = random.random(n) < 0.4
    found = figures.average_precision(is_true, scores)
    if is_true.any():
        assert found == pytest.approx(sk.average_precision_score(is_true, scores))
    else:
        assert found is None


def test_the_mean_is_over_tags_that_have_rows() -> None:
    assert figures.mean_average_precision({"a": 0.5, "b": None, "c": 0.0}) == 0.25
    assert figures.mean_average_precision({"a": None}) == 0.0


@pytest.mark.parametrize("wrong_by", [0.3, 1.0, 3.0])
def test_logits_of_a_wrong_scale_are_brought_back(wrong_by: float) -> None:
    random = np.random.default_rng(3)
    logits = random.normal(-1, 2, (4000, 5)).astype(np.float32)
    labels = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    assert calibrate(logits * wrong_by, labels) == pytest.approx(wrong_by, rel=0.1)


def test_a_handful_of_rows_calibrates_nothing() -> None:
    assert calibrate(np.ones((5, 3), np.float32), np.zeros((5, 3), np.float32)) == 1.0
