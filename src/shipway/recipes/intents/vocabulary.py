"""How often a stream's words come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shipway.recipes.intents import grams as gr
from shipway.recipes.intents import text as tx

MOST = 300_000  # distinct words; some tens of MB
AT_ONCE = 1 << 17  # words that are sorted together
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd; words that differ in their first letter have near hashes


@dataclass(frozen=True)
class _Distinct:
    """Words by hash, each once, sorted.

    Attributes:
        hashes: The words' own times `SPREAD`, uint64, shape (n,).
        counts: int64, shape (n,).
        letters: All words' code points one behind the other, uint32.
        begins, lengths: Each word's place among them, int64, shape (n,).
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    letters: NDArray[np.uint32]
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, *parts: _Distinct) -> _Distinct:
        """From parts that are neither sorted nor distinct."""
        ends = np.cumsum([0, *(len(part.letters) for part in parts)])
        hashes = np.concatenate([part.hashes for part in parts])
        if not len(hashes):
            return parts[0]
        order = _order(hashes)
        in_order = hashes[order]
        firsts = np.flatnonzero(np.concatenate(([True], in_order[1:] != in_order[:-1])))
        counts = np.add.reduceat(np.concatenate([part.counts for part in parts])[order], firsts)
        kept = order[firsts]  # of equal words the first
        begins = np.concatenate([part.begins + end for part, end in zip(parts, ends[:-1], strict=True)])[kept]
        lengths = np.concatenate([part.lengths for part in parts])[kept]
        letters = np.concatenate([part.letters for part in parts])[gr.runs(begins, lengths)]
        return cls(in_order[firsts], counts, letters, np.cumsum(lengths) - lengths, lengths)

    def at(self, places: NDArray[np.int64]) -> _Distinct:
        """Some of the words."""
        return _Distinct(
            self.hashes[places], self.counts[places], self.letters, self.begins[places], self.lengths[places]
        )

    def word(self, place: int) -> str:
        """Spelled out."""
        begin = self.begins[place]
        return self.letters[begin : begin + self.lengths[place]].tobytes().decode("utf-32-le", "replace")


def _order(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """As a stable `np.argsort`, in a quarter of the time: numbers of a hash's top bits and its place are sorted."""
    bits = np.uint64(len(hashes).bit_length())
    places = np.arange(len(hashes), dtype=np.uint64)
    keys = np.sort(hashes >> bits << bits | places)
    order = (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    in_order = hashes[order]
    if np.all(in_order[1:] >= in_order[:-1]):
        return order
    return np.argsort(hashes, kind="stable")  # two hashes that differ in their low bits alone


class WordCounts:
    """Counts a stream's words; above `MOST` distinct ones, those that came once are forgotten."""

    def __init__(self) -> None:
        empty = np.zeros(0, dtype=np.int64)
        self._known = _Distinct(empty.astype(np.uint64), empty, empty.astype(np.uint32), empty, empty)
        self._waiting: list[_Distinct] = []
        self._size = 0

    def add(self, characters: tx.Characters, words: gr.Words) -> None:
        """Counts the words of a block."""
        ones, lengths = np.ones(len(words.hashes), dtype=np.int64), words.ends - words.begins
        letters = characters.codes.astype("<u4")
        hashes = words.hashes * SPREAD
        self._waiting.append(_Distinct(hashes, ones, letters, words.begins, lengths))
        self._size += len(ones)
        if self._size > AT_ONCE:
            self._settle()

    def merge(self, other: WordCounts) -> None:
        """Adds what was counted of other texts."""
        self._settle()
        other._settle()
        self._know(other._known)

    def most_common(self, limit: int) -> list[str]:
        """Words seen at least twice, most frequent first, equal counts by spelling."""
        self._settle()
        counts = self._known.counts
        least = np.partition(counts, -limit)[-limit] if 0 < limit < len(counts) else 0
        often = np.flatnonzero(counts >= max(least, 2)).tolist()
        return [word for _, word in sorted((-counts[place], self._known.word(place)) for place in often)[:limit]]

    def _settle(self) -> None:
        if self._waiting:
            waiting, self._waiting, self._size = self._waiting, [], 0
            self._know(_Distinct.of(*waiting))

    def _know(self, others: _Distinct) -> None:
        self._known = _Distinct.of(self._known, others)
        if len(self._known.hashes) > MOST:
            often = self._known.at(np.flatnonzero(self._known.counts > 1))
            self._known = _Distinct.of(often)
