"""Figures of a tagger, as functions of plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]


def multi_hot(tags: pl.Series, classes: Sequence[str]) -> csr_array:
    """1 for each tag of a row, float64 (n, classes).

    Args:
        tags: List of strings a row, each once.
        classes: All that occur.
    """
    import polars as pl
    from scipy.sparse import csr_array  # the plan checks settings where it is not installed

    ids = {tag: number for number, tag in enumerate(classes)}
    columns = tags.explode(empty_as_null=False).replace_strict(ids, return_dtype=pl.Int64).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(tags.list.len().to_numpy().astype(np.int64))])
    return csr_array((np.ones(len(columns)), columns, offsets), shape=(len(tags), len(classes)))


def statistics(truth: csr_array, named: csr_array) -> csr_array:
    """What `averages` needs of each row: by tag rightly named, true, named; all tags right; 1."""
    from scipy.sparse import csr_array, hstack

    right = truth.multiply(named)
    is_exact = (truth != named).sum(axis=1) == 0
    rows = np.column_stack([is_exact, np.ones(len(is_exact))]).astype(np.float64)
    return csr_array(hstack([right, truth, named, csr_array(rows)], format="csr"))


def averages(sums: Floats) -> dict[str, Floats]:
    """The figures of many sums of `statistics` at once, shape (m, k) -> (m,) each.

    A ratio without a denominator is 0, as scikit-learn's `zero_division=0`; macro F1 is the mean over tags that occur
    or are named.
    """
    right, true, named = np.split(sums[:, :-2], 3, axis=1)
    exact, rows = sums[:, -2], sums[:, -1]
    all_right, all_true, all_named = right.sum(axis=1), true.sum(axis=1), named.sum(axis=1)
    return {
        "micro_f1": ratio(2 * all_right, all_true + all_named),
        "macro_f1": ratio(ratio(2 * right, true + named).sum(axis=1), ((true + named) > 0).sum(axis=1)),
        "micro_precision": ratio(all_right, all_named),
        "micro_recall": ratio(all_right, all_true),
        "subset_accuracy": ratio(exact, rows),
        "hamming_loss": ratio(all_true + all_named - 2 * all_right, rows * right.shape[1]),
    }


def jaccard(truth: pl.Series, named: pl.Series) -> Floats:
    """Tags that a row has and is given, of those that it has or is given; 1 where there are none of either."""
    import polars as pl

    rows = pl.DataFrame([truth.alias("truth"), named.alias("named")])
    both = rows.select(pl.col("truth").list.set_intersection("named").list.len()).to_series().to_numpy()
    either = rows.select(pl.col("truth").list.set_union("named").list.len()).to_series().to_numpy()
    result: Floats = np.where(either > 0, both / np.maximum(either, 1), 1.0)
    return result


def average_precision(is_true: NDArray[np.bool_], scores: NDArray[Any]) -> float | None:
    """Sum over thresholds of (recall gained) * precision, as scikit-learn's `average_precision_score`.

    None where no row has the tag.
    """
    total = int(is_true.sum())
    if not total:
        return None
    order = np.argsort(-scores)
    right = np.cumsum(is_true[order])
    last = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)  # equal scores are one threshold
    precision = right[last] / (last + 1)
    return float((np.diff(right[last], prepend=0) * precision).sum() / total)


def mean_average_precision(by_tag: Mapping[str, float | None]) -> float:
    """Over tags that have rows; 0 where none has any."""
    known = [value for value in by_tag.values() if value is not None]
    return float(np.mean(known)) if known else 0.0


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """0 where `below` is 0."""
    result: Floats = np.zeros(np.shape(above), dtype=np.float64)
    np.divide(above, below, out=result, where=np.asarray(below) > 0)
    return result
