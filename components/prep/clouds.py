"""Labels whose rows fall into two clouds: perhaps one label that is two.

Any rows can be cut into two halves. What counts is how far the halves lie apart by the measure of the same data: a
label is named where its halves are less alike than a share of the pairs of labels that people did tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shipway.language.nearest import Floats

ROWS = 128  # of a label that are looked at
# Rows of a half, or of a label, that are compared: more rows have nearer neighbours.
SIZES = (64, 48, 32, 24, 16, 12, 8)
PAIRS = 300  # of labels, for each size
LEAST_PAIRS = 6  # four labels
STARTS, TURNS = 4, 50
ROUNDING = 1e-6  # scatter of rows that are the same but for rounding

Members = NDArray[np.bool_]


@dataclass(frozen=True)
class Clouds:
    """How a label's rows fall into two.

    Attributes:
        members: Of the rows that were looked at, those of the larger half, shape (n,).
        apart: Share of the pairs of labels that are more alike than the two halves, 0 to 1.
    """

    members: Members
    apart: float


def find_clouds(rows_of: Mapping[str, Floats]) -> dict[str, Clouds]:
    """Of each label that can be judged: two halves of at least eight rows, and enough other labels to compare with.

    Args:
        rows_of: Label -> vectors of length 1 of some of its rows, `ROWS` at most, in an order of chance; (n, width).
    """
    known: dict[int, Floats] = {}
    found = {}
    for label, vectors in rows_of.items():
        members = halves(vectors)
        size = next((size for size in SIZES if size <= np.count_nonzero(~members)), 0)
        if not size:
            continue
        if size not in known:
            known[size] = _between_labels(list(rows_of.values()), size)
        if len(known[size]) >= LEAST_PAIRS:
            alike = likeness(vectors[members][:size], vectors[~members][:size])
            found[label] = Clouds(members, float(np.mean(known[size] > alike)))
    return found


def halves(vectors: Floats) -> Members:
    """The cut into two that leaves least scatter (2-means, from the signs of the first principal components).

    Returns:
        Rows of the larger half, shape (n,); all where the rows are alike.
    """
    everything = np.ones(len(vectors), dtype=bool)
    if len(vectors) < 2:
        return everything
    centred = vectors - vectors.mean(axis=0)
    values, components = np.linalg.eigh(centred @ centred.T)
    points = components * np.sqrt(np.maximum(values, 0))  # the rows by their distances alone: (n, n)
    best, scatter = everything, ROUNDING
    for axis in range(1, min(STARTS, len(points)) + 1):
        members = _settled(points, points[:, -axis] > 0)
        share = members.mean()
        if 0 < share < 1:
            between = share * (1 - share) * np.sum((points[members].mean(0) - points[~members].mean(0)) ** 2)
            if between > scatter * (1 + 1e-6):
                best, scatter = members, float(between)
    return best if 2 * np.count_nonzero(best) >= len(best) else ~best


def _settled(points: Floats, members: Members) -> Members:
    for _ in range(TURNS):
        if members.all() or not members.any():
            break
        one, other = points[members].mean(axis=0), points[~members].mean(axis=0)
        moved = points @ (one - other) > (one @ one - other @ other) / 2
        if (moved == members).all():
            break
        members = moved
    return members


def likeness(one: Floats, other: Floats) -> float:
    """Mean cosine of each row and the row of the other side that is most like it."""
    products = one @ other.T
    return float(products.max(axis=1).mean() + products.max(axis=0).mean()) / 2


def typical(vectors: Floats) -> NDArray[np.int64]:
    """Places of three rows to show: the one nearest the middle of all, and two from the inner half."""
    order = np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")
    places: NDArray[np.int64] = order[np.unique([0, len(order) // 4, len(order) // 2])]
    return places


def _between_labels(units: list[Floats], size: int) -> Floats:
    """Likeness of pairs of labels by as many rows of each; all pairs, or some drawn by a fixed seed."""
    large = [vectors[:size] for vectors in units if len(vectors) >= size]
    first, second = np.triu_indices(len(large), 1)
    chosen = np.random.default_rng(0).permutation(len(first))[:PAIRS]
    pairs = zip(first[chosen].tolist(), second[chosen].tolist(), strict=True)
    return np.array([likeness(large[i], large[j]) for i, j in pairs], dtype=np.float32)
