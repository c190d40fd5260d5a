"""Texts as the graph of `use-multilingual-3` reads them: batches of about as many tokens, without padding."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.language.use_graph import FEATURES, REACH, ROW

BUDGET = 512  # tokens of a batch: a few megabytes, which stay in a core's cache
OVERLAP = 2 * REACH  # tokens beside a part that its convolutions see
KNOWN = 4096  # tokens whose rows are kept, 15 KB each: a bot's texts have fewer different ones

Ids = NDArray[np.int64]


class Windows:
    """Vectors of texts. What is computed of a token alone, two fifths of all, is kept for the texts that follow; the
    numbers do not depend on what was asked before. Safe to share between threads.

    Args:
        session: Of ONNX Runtime.
        width: Numbers of a vector.
    """

    def __init__(self, session: Any, width: int) -> None:
        self._session, self._width = session, width
        self._rows = np.empty((KNOWN, ROW), np.float32)  # a page of it is memory once it is written to
        self._slots = np.full(1, -1, np.int64)  # of a token; -1: not known
        self._count = 0
        self._lock = threading.Lock()

    def encode(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """Vectors of the texts whose tokens `rows` are, one or more each; float32 (n, width)."""
        vectors = np.empty((len(rows), self._width), np.float32)
        for start, stop in _batches(rows):
            if stop - start == 1 and len(rows[start]) > BUDGET:
                vectors[start] = self._run_parts(np.array(rows[start], np.int64))
            else:
                lengths = np.fromiter(map(len, rows[start:stop]), np.int64, stop - start)
                flat = np.concatenate([np.array(ids, np.int64) for ids in rows[start:stop]])
                vectors[start:stop] = self._run("vectors", flat, _around(flat, lengths))
        return vectors

    def _run(self, output: str, flat: Ids, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        different, which = np.unique(flat, return_inverse=True)
        known, order = self._look_up(different)
        pieces = different[order[len(known) :]]
        place = np.empty(len(different) + 1, np.int64)  # of each different token among those known and those not
        place[order] = np.arange(len(order))
        place[-1] = len(order)
        around = place[np.append(which, len(different))[inputs["window"]]]
        given = {**inputs, "known": known, "pieces": pieces, "around": around}
        found, new = self._session.run([output, "rows"], given)
        if len(pieces):
            self._keep(pieces, new)
        result: NDArray[np.float32] = found
        return result

    def _look_up(self, different: Ids) -> tuple[NDArray[np.float32], Ids]:
        """Rows of those that are known, and the order of all: those first, then the others."""
        with self._lock:
            if (need := int(different[-1]) + 1) > len(self._slots):
                self._slots = np.append(self._slots, np.full(2 * need - len(self._slots), -1, np.int64))
            slots = self._slots[different]
            is_known = slots >= 0
            known = self._rows[slots[is_known]]
        return known, np.concatenate([np.flatnonzero(is_known), np.flatnonzero(~is_known)])

    def _keep(self, pieces: Ids, rows: NDArray[np.float32]) -> None:
        with self._lock:
            if self._count + len(pieces) > KNOWN:  # begun anew: those that are asked often are soon there again
                self._slots[:] = -1
                self._count = 0
            is_new = self._slots[pieces] < 0  # another thread may have come first
            pieces, rows = pieces[is_new][:KNOWN], rows[is_new][:KNOWN]
            end = self._count + len(pieces)
            self._rows[self._count : end] = rows
            self._slots[pieces] = np.arange(self._count, end)
            self._count = end

    def _run_parts(self, ids: Ids) -> NDArray[np.float32]:
        """A long text's vector, part by part: memory is bounded, and nothing is left out."""
        carried: NDArray[np.float32] = np.zeros((1, FEATURES), np.float32)
        total = np.array([[len(ids)]], np.float32)
        for start in range(0, len(ids), BUDGET):
            left = max(start - OVERLAP, 0)
            part = ids[left : start + BUDGET + OVERLAP]
            inputs = _around(part, np.array([len(part)]))
            inputs["members"][0, : start - left] = 0  # seen, and counted in the part that they are of
            inputs["members"][0, start - left + BUDGET :] = 0
            inputs |= {"carried": carried, "lengths": total}
            is_last = start + BUDGET >= len(ids)
            carried = self._run("vectors" if is_last else "sums", part, inputs)
        vector: NDArray[np.float32] = carried[0]
        return vector


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


def _around(flat: Ids, lengths: Ids) -> dict[str, NDArray[Any]]:
    """The graph's inputs for texts that lie one behind the other, but for what it is told of their tokens."""
    count, texts = len(flat), len(lengths)
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(texts), lengths)
    places = np.arange(count)
    window = places[:, None] + np.arange(-REACH, REACH + 1)
    is_inside = (window >= (ends - lengths)[owner][:, None]) & (window < ends[owner][:, None])
    members = np.zeros((texts, count), np.float32)
    members[owner, places] = 1
    return {
        "window": np.where(is_inside, window, count), "members": members,
        "carried": np.zeros((texts, FEATURES), np.float32), "lengths": lengths[:, None].astype(np.float32),
    }  # fmt: skip
