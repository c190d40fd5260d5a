"""The nearest of many vectors, exactly, by NumPy alone.

Most of a product of 512 numbers decides nothing: a pair is worth it only where a bound over the first numbers of a
rotation allows it. Cauchy and Schwarz give that bound: `a . b <= head(a) . head(b) + |tail(a)| |tail(b)|`, and the
rotation (principal axes of the vectors themselves) makes the tails short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Stored = NDArray[np.float16] | NDArray[np.float32]
Ints = NDArray[np.int64]

HEAD = 64  # numbers of a head
SAMPLE = 2_048  # vectors that the rotation is found on
ROWS, COLUMNS = 512, 4_096  # of a block of products
CROWDED = 1 / 64  # share of a block's pairs that may be near, above which all of its products are made
GATHERED = 8_192  # pairs whose vectors are in memory at once
SLACK = 1e-4  # above the rounding of products in single precision


@dataclass(frozen=True)
class Nearest:
    """The nearest other vector of each query.

    Attributes:
        places: In the corpus, shape (n,); -1 where none is near enough.
        similarities: Cosines, float32 (n,), rounded to six places; 0 where there is none.
    """

    places: Ints
    similarities: Floats


def unit(vectors: Stored) -> Floats:
    """The vectors at length 1, float32 (n, width); one of zeros stays, and is near nothing."""
    wide = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units: Floats = wide / np.maximum(lengths, np.finfo(np.float32).tiny)
    return units


def nearest(
    queries: Stored, corpus: Stored, least: float, *, query_kinds: Ints | None = None, corpus_kinds: Ints | None = None
) -> Nearest:
    """The most similar vector of a corpus to each query; of equally similar ones the first.

    Takes memory for the queries, in single precision, and for one block of the corpus, which may be a file
    (`numpy.memmap`). Time goes by the product of both.

    Args:
        queries: float16 or float32 (n, width), of any length.
        corpus: The same, (m, width).
        least: Cosine, above 0, below which two are not near.
        query_kinds: A kind for each query; with `corpus_kinds`, vectors of the query's own kind are passed over.
        corpus_kinds: A kind for each vector of the corpus.
    """
    found = Nearest(np.full(len(queries), -1, dtype=np.int64), np.zeros(len(queries), dtype=np.float32))
    if not len(queries) or not len(corpus):
        return found
    if query_kinds is None or corpus_kinds is None:
        query_kinds, corpus_kinds = np.zeros(len(queries), dtype=np.int64), np.ones(len(corpus), dtype=np.int64)
    axes = _axes(corpus)
    asked = _Block.of(queries, query_kinds, axes, 0)
    for start in range(0, len(corpus), COLUMNS):
        part = slice(start, start + COLUMNS)
        block = _Block.of(corpus[part], corpus_kinds[part], axes, start)
        for first in range(0, len(queries), ROWS):
            some = asked.part(first, first + ROWS)
            for rows, columns in _candidates(some, block, least):
                _take(found, some, block, rows, columns, least)
    return found


@dataclass(frozen=True)
class _Block:
    vectors: Floats
    heads: Floats  # and behind each the length of its tail
    kinds: Ints
    start: int

    @classmethod
    def of(cls, vectors: Stored, kinds: Ints, axes: Floats | None, start: int) -> _Block:
        whole = unit(vectors)
        return cls(whole, whole if axes is None else _heads(whole, axes), kinds, start)

    def part(self, start: int, stop: int) -> _Block:
        return _Block(self.vectors[start:stop], self.heads[start:stop], self.kinds[start:stop], self.start + start)


def _axes(corpus: Stored) -> Floats | None:
    """Principal axes of some of the corpus, float32 (width, HEAD); None where a head would be most of a vector."""
    if corpus.shape[1] <= 2 * HEAD:
        return None
    some = unit(corpus[:: max(len(corpus) // SAMPLE, 1)])
    _, axes = np.linalg.eigh(some.T @ some)
    return np.ascontiguousarray(axes[:, -HEAD:])


def _heads(vectors: Floats, axes: Floats) -> Floats:
    heads = vectors @ axes
    squares = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", heads, heads)
    return np.concatenate([heads, np.sqrt(np.maximum(squares, 0))[:, None]], axis=1)


def _candidates(some: _Block, block: _Block, least: float) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of other kinds that may be near, a query's nearest among them; some at a time."""
    near = some.heads @ block.heads.T >= least - SLACK
    if np.count_nonzero(near) > CROWDED * near.size:  # many copies: a pair at a time would take minutes
        products = np.round(some.vectors @ block.vectors.T, 6)
        products[some.kinds[:, None] == block.kinds] = -1
        yield np.arange(len(products)), products.argmax(axis=1)
        return
    pairs = np.flatnonzero(near)
    for start in range(0, len(pairs), GATHERED):
        rows, columns = np.divmod(pairs[start : start + GATHERED], near.shape[1])
        apart = some.kinds[rows] != block.kinds[columns]
        yield rows[apart], columns[apart]


def _take(found: Nearest, some: _Block, block: _Block, rows: Ints, columns: Ints, least: float) -> None:
    """Takes in the best of each query, where it is better than what was found before."""
    exact = np.round(np.einsum("ij,ij->i", some.vectors[rows], block.vectors[columns]), 6)
    near = (exact >= least) & (some.kinds[rows] != block.kinds[columns])
    rows, columns, exact = rows[near], columns[near], exact[near]
    order = np.lexsort((columns, -exact, rows))
    rows, columns, exact = rows[order], columns[order], exact[order]
    is_best = np.ones(len(rows), dtype=bool)
    is_best[1:] = rows[1:] != rows[:-1]
    queries = some.start + rows
    is_best &= exact > found.similarities[queries]
    found.places[queries[is_best]] = block.start + columns[is_best]
    found.similarities[queries[is_best]] = exact[is_best]
