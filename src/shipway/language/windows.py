"""Texts as the graph of `use-multilingual-3` reads them: batches of about as many tokens, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.language.use_graph import FEATURES, REACH

BUDGET = 512  # tokens of a batch: a few megabytes, which stay in a core's cache
OVERLAP = 2 * REACH  # tokens beside a part that its convolutions see


def run_windows(session: Any, rows: Sequence[list[int]], width: int) -> NDArray[np.float32]:
    """Vectors of the texts whose tokens `rows` are, float32 (n, width).

    Args:
        session: Of ONNX Runtime.
        rows: A text's ids, one or more.
        width: Numbers of a vector.
    """
    vectors = np.empty((len(rows), width), np.float32)
    for start, stop in _batches(rows):
        if stop - start == 1 and len(rows[start]) > BUDGET:
            vectors[start] = _run_parts(session, np.array(rows[start], np.int64))
        else:
            lengths = np.fromiter(map(len, rows[start:stop]), np.int64, stop - start)
            flat = np.concatenate([np.array(ids, np.int64) for ids in rows[start:stop]])
            (vectors[start:stop],) = session.run(["vectors"], _inputs(flat, lengths))
    return vectors


def _batches(rows: Sequence[list[int]]) -> Iterator[tuple[int, int]]:
    """Ranges of rows with at most `BUDGET` tokens, or of one row."""
    start = tokens = 0
    for place, ids in enumerate(rows):
        if place > start and tokens + len(ids) > BUDGET:
            yield start, place
            start, tokens = place, 0
        tokens += len(ids)
    if start < len(rows):
        yield start, len(rows)


def _run_parts(session: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """A long text's vector, part by part: memory is bounded, and nothing is left out."""
    carried: NDArray[np.float32] = np.zeros((1, FEATURES), np.float32)
    total = np.array([[len(ids)]], np.float32)
    for start in range(0, len(ids), BUDGET):
        left = max(start - OVERLAP, 0)
        part = ids[left : start + BUDGET + OVERLAP]
        inputs = _inputs(part, np.array([len(part)]))
        inputs["members"][0, : start - left] = 0  # seen, and counted in the part that they are of
        inputs["members"][0, start - left + BUDGET :] = 0
        inputs |= {"carried": carried, "lengths": total}
        is_last = start + BUDGET >= len(ids)
        (carried,) = session.run(["vectors" if is_last else "sums"], inputs)
    vector: NDArray[np.float32] = carried[0]
    return vector


def _inputs(flat: NDArray[np.int64], lengths: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The graph's inputs for texts that lie one behind the other."""
    count, texts = len(flat), len(lengths)
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(texts), lengths)
    places = np.arange(count)
    window = places[:, None] + np.arange(-REACH, REACH + 1)
    is_inside = (window >= (ends - lengths)[owner][:, None]) & (window < ends[owner][:, None])
    window = np.where(is_inside, window, count)
    pieces, which = np.unique(flat, return_inverse=True)
    around = np.append(which, len(pieces))[window]
    members = np.zeros((texts, count), np.float32)
    members[owner, places] = 1
    return {
        "pieces": pieces, "around": around, "window": window, "members": members,
        "carried": np.zeros((texts, FEATURES), np.float32), "lengths": lengths[:, None].astype(np.float32),
    }  # fmt: skip
