"""Normalised texts to hashed n-grams, in numpy.

The hash is pinned: a polynomial over Unicode code points modulo 2^64, finished by splitmix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014). A change of it would unlearn every published model, so
tests/unit/recipes holds golden values.

The arrays of a block are used again for the next one: with fresh arrays most of the time went to the system, which
clears each page that it hands out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.recipes.intents.text import BLOCK, SPACE, Characters, IntArray, UIntArray

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_WORKING = ("rolling", "hashes", "spare", "inside", "is_space")


@dataclass(frozen=True)
class Words:
    """Runs of letters, marks and digits.

    Attributes:
        hashes: Raw polynomial hash of each word, uint64, shape (total,).
        begins, ends: The word's place in `Characters.codes`, int64.
        offsets: int64, shape (n + 1,); text i has words `offsets[i]:offsets[i + 1]`.
    """

    hashes: UIntArray
    begins: IntArray
    ends: IntArray
    offsets: IntArray


class _Scratch(threading.local):
    """This thread's arrays for what lives no longer than a block."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def __call__(self, name: str, size: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """An array of that name, with whatever was in it before."""
        array = self._arrays.get(name)
        if array is None or len(array) < size:
            array = self._arrays[name] = np.empty(size + size // 4, dtype=dtype)
        return array[:size]


_scratch = _Scratch()


def mix(values: UIntArray, salt: int) -> UIntArray:
    """splitmix64's finaliser over `values + salt * golden ratio`: 64 well-mixed bits."""
    return _mixed(values, salt, np.empty_like(values), np.empty_like(values))


def _mixed(values: UIntArray, salt: int, out: UIntArray, spare: UIntArray) -> UIntArray:
    np.add(values, np.uint64(salt * _BASE & 0xFFFFFFFFFFFFFFFF), out=out)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(out, np.uint64(shift), out=spare)
        np.bitwise_xor(out, spare, out=out)
        np.multiply(out, np.uint64(factor), out=out)
    np.right_shift(out, np.uint64(31), out=spare)
    return np.bitwise_xor(out, spare, out=out)


def bucket(hashes: UIntArray, first: int, end: int) -> IntArray:
    """Ids in [first, end)."""
    # The high half, scaled: no division, and no bias worth the name.
    scaled = ((hashes >> np.uint64(32)) * np.uint64(end - first)) >> np.uint64(32)
    return scaled.astype(np.int64) + first


def word_buckets(buckets: int) -> int:
    """Buckets below this one are for words and runs of words, those from it on for runs of characters."""
    return buckets // 4


def inner_buckets(buckets: int) -> int:
    """Buckets from this one on are for runs of characters that go across a space, those below it for all others."""
    return buckets // 8 * 5


def words(characters: Characters) -> Words:
    """The words of each text and their hashes."""
    codes, is_word = characters.codes, characters.is_word
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1  # a text begins and ends with a space
    begins, ends = edges[::2], edges[1::2]
    prefix = _scratch("prefix", len(codes) + 1)
    prefix[0] = 0
    np.multiply(codes, _powers(_BASE, len(codes)), out=prefix[1:])
    np.cumsum(prefix, out=prefix)
    # sum(c[i] * B^i) over the word, moved to where its first letter has power 0
    hashes = (prefix[ends] - prefix[begins]) * _powers(_BASE_INVERSE, len(codes))[begins]
    return Words(hashes, begins, ends, np.searchsorted(begins, characters.starts))


def _powers(base: int, count: int) -> UIntArray:
    """0th to `count`-th power, modulo 2^64."""
    return _power_table(base, 1 << (count - 1).bit_length() if count > BLOCK * 2 else BLOCK * 2)[:count]


@lru_cache(maxsize=4)
def _power_table(base: int, count: int) -> UIntArray:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def word_hash(word: str) -> int:
    """The raw hash that `words` gives a (normalised) word."""
    total, power = 0, 1
    for character in word:
        total += ord(character) * power
        power = power * _BASE & 0xFFFFFFFFFFFFFFFF
    return total & 0xFFFFFFFFFFFFFFFF


def grams(
    characters: Characters,
    words: Words,
    word_ngrams: int,
    chars_min: int,
    chars_max: int,
    buckets: int,
    apart: bool = True,
) -> tuple[IntArray, IntArray]:
    """Bucket ids of runs of words and of characters.

    Args:
        apart: Runs of characters with a space inside (not only at an end) have buckets of their own.

    Returns:
        values, shape (total,), and offsets, shape (n + 1,), as `Ragged` holds them: of each text first the words,
        then word pairs and so on (ids from 1 on; 0 stays free for padding), then character n-grams from short to long
        (ids from `word_buckets` on, those with a space inside from `inner_buckets` on). The values are this thread's
        until it asks for the next block's.
    """
    ids, bounds, parts = _windows(characters, words, word_ngrams, chars_min, chars_max, buckets, apart)
    return _by_text(ids, bounds, parts, len(characters))


def count_grams(
    characters: Characters,
    words: Words,
    word_ngrams: int,
    chars_min: int,
    chars_max: int,
    counts: IntArray,
) -> None:
    """Adds how often each id comes to `counts`, shape (buckets,): `grams` without putting them in order by text."""
    ids, bounds, parts = _windows(characters, words, word_ngrams, chars_min, chars_max, len(counts), apart=True)
    for bound, (offsets, n) in zip(bounds, parts, strict=False):
        for left in range(1, n):  # windows that reach into the next text become padding
            places = offsets[1:] - left
            ids[bound + places[places >= 0]] = 0
    np.add.at(counts, ids, 1)
    counts[0] = 0


def _windows(
    characters: Characters, words: Words, word_ngrams: int, chars_min: int, chars_max: int, buckets: int, apart: bool
) -> tuple[IntArray, IntArray, list[tuple[IntArray, int]]]:
    """Arguments of `_by_text`; the ids are this thread's until it asks for the next block's."""
    words_of, codes_of = word_ngrams, max(chars_max - chars_min + 1, 0)
    counts = [len(words.hashes)] * words_of + [len(characters.codes)] * codes_of
    bounds = np.cumsum([0, *counts])
    ids = _scratch("ids", int(bounds[-1]), np.int64)
    _word_windows(words, word_ngrams, word_buckets(buckets), ids)
    cut, inner = word_buckets(buckets), inner_buckets(buckets)
    zones = ((cut, inner), (inner, buckets)) if apart else ((cut, buckets), (cut, buckets))
    _code_windows(characters.codes, chars_min, chars_max, zones, ids[bounds[words_of] :])
    parts = [(words.offsets, n) for n in range(1, word_ngrams + 1)]
    parts += [(characters.starts, n) for n in range(chars_min, chars_max + 1)]
    return ids, bounds, parts


def _word_windows(words: Words, longest: int, end: int, ids: IntArray) -> None:
    """Bucket ids of runs of 1, 2, ... words, from each word on; those that reach into the next text too."""
    hashes, count = words.hashes, len(words.hashes)
    for n in range(1, longest + 1):
        if n > 1:  # order matters in a pair, hence the factor
            hashes = mix(hashes[:-1], n) * np.uint64(_BASE) + words.hashes[n - 1 :]
        ids[(n - 1) * count : (n - 1) * count + len(hashes)] = bucket(mix(hashes, n), 1, end)


def _code_windows(
    codes: UIntArray, shortest: int, longest: int, zones: tuple[tuple[int, int], tuple[int, int]], ids: IntArray
) -> None:
    """The same of runs of characters, in the first zone where no space is inside, in the second where one is."""
    count = len(codes)
    rolling, hashes, spare, inside, is_space = (_scratch(name, count) for name in _WORKING)
    rolling[:] = codes
    inside[:] = 0
    is_space[:] = codes == SPACE
    np.negative(is_space, out=is_space)  # all bits
    firsts = [np.uint64(first) for first, _ in zones]
    sizes = [np.uint64(end - first) for first, end in zones]
    for n in range(1, longest + 1):
        size = max(count - n + 1, 0)
        some, mixed, left, inner = (array[:size] for array in (rolling, hashes, spare, inside))
        if n > 1:
            np.multiply(some, np.uint64(_BASE), out=some)
            np.add(some, codes[n - 1 :], out=some)
        if n > 2:
            np.bitwise_or(inner, is_space[n - 2 : n - 2 + size], out=inner)
        if n < shortest:
            continue
        _mixed(some, 16 + n, mixed, left)
        np.right_shift(mixed, np.uint64(32), out=mixed)
        # As `bucket` does, with each window's own zone.
        np.multiply(mixed, sizes[0] if sizes[0] == sizes[1] else _either(inner, sizes, left), out=mixed)
        np.right_shift(mixed, np.uint64(32), out=mixed)
        place = (n - shortest) * count
        np.add(mixed, _either(inner, firsts, left), out=ids[place : place + size], casting="unsafe")


def _either(mask: UIntArray, numbers: Sequence[np.uint64], out: UIntArray) -> UIntArray:
    """The first number where the mask has no bits, the second where it has all."""
    np.bitwise_and(mask, numbers[0] ^ numbers[1], out=out)
    return np.bitwise_xor(out, numbers[0], out=out)


def _by_text(
    ids: IntArray, bounds: IntArray, parts: Sequence[tuple[IntArray, int]], texts: int
) -> tuple[IntArray, IntArray]:
    """Parts that are each in the order of the texts, to texts that each have all parts.

    Args:
        ids: Part behind part; part p begins at `bounds[p]`, with an id for each place where a window may begin.
        parts: Where each text's places begin, shape (n + 1,), and how long a window is.
    """
    counts = np.empty((texts, len(parts)), dtype=np.int64)
    firsts = np.empty((texts, len(parts)), dtype=np.int64)
    for part, (offsets, n) in enumerate(parts):
        np.maximum(np.diff(offsets) - n + 1, 0, out=counts[:, part])  # windows that stay within the text
        np.add(offsets[:-1], bounds[part], out=firsts[:, part])
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    offsets = np.concatenate(([0], ends[len(parts) - 1 :: len(parts)])) if parts else np.zeros(texts + 1, np.int64)
    places = runs(firsts.reshape(-1), counts.reshape(-1), _scratch("places", total, np.int64))
    return np.take(ids, places, out=_scratch("values", total, np.int64), mode="clip"), offsets


def runs(begins: IntArray, lengths: IntArray, out: IntArray | None = None) -> IntArray:
    """begins[0], begins[0] + 1, ... of `lengths[0]` numbers, then those of the next run; int64."""
    places = np.empty(int(lengths.sum()), dtype=np.int64) if out is None else out
    filled = np.flatnonzero(lengths)
    begins, lengths = begins[filled], lengths[filled]
    # Steps of one, and from run to run a leap, added up.
    places[:] = 1
    leaps = begins.copy()
    leaps[1:] -= begins[:-1] + lengths[:-1] - 1
    places[np.cumsum(lengths) - lengths] = leaps
    return np.cumsum(places, out=places)
