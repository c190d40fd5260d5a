"""Figures that are functions of sums over rows: their intervals, and two models' on the same rows.

A task gives `statistics`, a sparse row for each row of a split, and `metrics`, a function of their sums
(`shipway.tasks.base.Evaluation`). Everything here works for any such pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Metrics = Callable[[Floats], dict[str, Floats]]

_BLOCK = 4_000_000  # numbers that one block of bootstrap weights may hold: 32 MB


def group_numbers(hashes: pl.Series) -> NDArray[np.int64]:
    """Groups as intervals take them, from hashes (uint64) of them."""
    numbers: NDArray[np.int64] = hashes.to_numpy().view(np.int64)
    return numbers


def figures(statistics: csr_array, metrics: Metrics) -> dict[str, float]:
    """The metrics of all rows together."""
    sums = np.asarray(statistics.sum(axis=0), dtype=np.float64).reshape(1, -1)
    return {name: float(value[0]) for name, value in metrics(sums).items()}


def figures_of_parts(statistics: csr_array, part: NDArray[Any], parts: int, metrics: Metrics) -> dict[str, Floats]:
    """The metrics of each part's rows, shape (parts,).

    Args:
        statistics: Float64 (n, k).
        part: Of each row, in [0, parts); -1: in none.
        parts: How many there are.
        metrics: Of sums of statistics.
    """
    rows = np.flatnonzero(part >= 0)
    member = csr_array((np.ones(len(rows)), (part[rows], rows)), shape=(parts, len(part)))
    return metrics((member @ statistics).toarray())


def intervals(
    statistics: csr_array, groups: NDArray[Any], metrics: Metrics, *, resamples: int, level: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the metrics by resampling whole groups.

    Rows of one group (a template, a speaker) are not independent; drawing rows would make the intervals too narrow
    (cluster bootstrap: Field and Welsh 2007; percentile interval: Efron and Tibshirani 1993, chapter 13).

    Args:
        statistics: Float64 (n, k).
        groups: Any integer by row, equal within a group, shape (n,).
        metrics: Of sums of statistics.
        resamples: How many times as many groups as there are get drawn, with replacement; at least 1.
        level: 0.95 cuts 2.5 % off at each end.
        seed: Of the draws.

    Returns:
        Metric -> (low, high).
    """
    sums, count = _by_group(statistics, groups)
    drawn = [metrics(np.asarray(weights @ sums)) for weights in _weights(count, resamples, seed)]
    return {name: _interval(np.concatenate([block[name] for block in drawn]), level) for name in drawn[0]}


def difference_intervals(
    first: csr_array,
    second: csr_array,
    groups: NDArray[Any],
    metrics: Metrics,
    *,
    resamples: int,
    level: float,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the second's metrics minus the first's, both on the same resampled groups."""
    (before, count), (after, _) = _by_group(first, groups), _by_group(second, groups)
    drawn: list[dict[str, Floats]] = []
    for weights in _weights(count, resamples, seed):
        old, new = metrics(np.asarray(weights @ before)), metrics(np.asarray(weights @ after))
        drawn.append({name: new[name] - old[name] for name in new})
    return {name: _interval(np.concatenate([block[name] for block in drawn]), level) for name in drawn[0]}


def sign_test(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two models err equally often on the same rows.

    The exact test: of the rows that one of them answers better, each is as likely to be the one's as the other's
    (McNemar 1947 for right and wrong; the exact binomial form as in Fagerland, Lydersen and Laake 2013, section 3).

    Args:
        only_first: Rows that the first answers better.
        only_second: Rows that the second answers better.
    """
    from scipy.stats import binom

    rows = only_first + only_second
    return float(min(1.0, 2 * binom.cdf(min(only_first, only_second), rows, 0.5))) if rows else 1.0


def _by_group(statistics: csr_array, groups: NDArray[Any]) -> tuple[csr_array, int]:
    known, place = np.unique(groups, return_inverse=True)
    rows = len(place)
    member = csr_array((np.ones(rows), (place, np.arange(rows))), shape=(len(known), rows))
    return csr_array(member @ statistics), len(known)


def _weights(groups: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each group was drawn, in blocks of resamples, float64 (block, groups)."""
    random = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK // max(groups, 1)))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = random.integers(0, groups, size=(size, groups)) + np.arange(size)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def _interval(values: Floats, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
