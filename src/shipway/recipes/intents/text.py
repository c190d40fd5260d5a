"""Text to hashed n-grams, a chunk of texts at a time in numpy.

The hash is pinned: a polynomial over Unicode code points modulo 2^64, finished by splitmix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014). A change of it would unlearn every published model, so
tests/unit/recipes holds golden values.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

UIntArray = NDArray[np.uint64]
IntArray = NDArray[np.int64]

_SEPARATOR = "\x00"
_SPACE = np.uint32(32)
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_SPACE_CLASS, _WORD_CLASS, _OTHER_CLASS = 0, 1, 2


@dataclass(frozen=True)
class Characters:
    """A chunk of normalised texts, one behind the other, each with one space before and one behind.

    Attributes:
        codes: Code points, uint64, shape (total,).
        starts: Where each text begins, int64, shape (n + 1,).
    """

    codes: UIntArray
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1


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


def normalise(texts: Sequence[str], fold_accents: bool = False) -> Characters:
    """NFKC, lower case, whitespace runs to one space; optionally letters without their accents."""
    joined = _SEPARATOR.join(texts)
    if joined.count(_SEPARATOR) != max(len(texts) - 1, 0):
        joined = _SEPARATOR.join(text.replace(_SEPARATOR, " ") for text in texts)
    if not joined.isascii():
        joined = unicodedata.normalize("NFKC", joined).lower()
        # lower() may leave a decomposed letter behind (U+0130); a second pass composes what can be.
        joined = unicodedata.normalize("NFKC", joined)
        if fold_accents:
            decomposed = unicodedata.normalize("NFD", joined)
            joined = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    else:
        joined = joined.lower()
    if not texts:
        return Characters(np.zeros(0, np.uint64), np.zeros(1, np.int64))
    return _collapse(np.frombuffer(f" {joined} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32), len(texts))


def _collapse(codes: NDArray[np.uint32], count: int) -> Characters:
    """One space between words, one at both ends of each text, the separators gone."""
    is_end = codes == 0
    spaced = np.where(is_end | (_classes(codes) == _SPACE_CLASS), _SPACE, codes)
    text = np.cumsum(is_end)
    text[is_end] -= 1  # a separator becomes the space behind its text
    keep = np.ones(len(codes), dtype=bool)
    keep[1:] = ~((spaced[1:] == _SPACE) & (spaced[:-1] == _SPACE) & (text[1:] == text[:-1]))
    spaced, text = spaced[keep], text[keep]
    # Every text but the first begins right behind a separator: it lacks its leading space, unless it brought one.
    lengths = np.bincount(text, minlength=count)
    firsts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    missing = firsts[spaced[firsts] != _SPACE]
    spaced = np.insert(spaced, missing, _SPACE)
    text = np.insert(text, missing, text[missing])
    starts = np.concatenate(([0], np.cumsum(np.bincount(text, minlength=count))))
    return Characters(spaced.astype(np.uint64), starts.astype(np.int64))


@cache
def _class_table() -> NDArray[np.uint8]:
    """Class of every code point of the Basic Multilingual Plane."""
    return np.fromiter((_class(code) for code in range(0x10000)), dtype=np.uint8, count=0x10000)


def _class(code: int) -> int:
    character = chr(code)
    if character.isspace() or unicodedata.category(character) in ("Cc", "Zs"):
        return _SPACE_CLASS
    return _WORD_CLASS if unicodedata.category(character)[0] in "LMN" else _OTHER_CLASS


def _classes(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    table = _class_table()
    if codes.max(initial=0) < 0x10000:
        return table[codes]
    classes = table[np.minimum(codes, 0xFFFF)]
    beyond = np.flatnonzero(codes >= 0x10000)
    distinct, inverse = np.unique(codes[beyond], return_inverse=True)
    classes[beyond] = np.array([_class(int(code)) for code in distinct], dtype=np.uint8)[inverse]
    return classes


def mix(values: UIntArray, salt: int) -> UIntArray:
    """splitmix64's finaliser over `values + salt * golden ratio`: 64 well-mixed bits."""
    mixed = values + np.uint64(salt * _BASE & 0xFFFFFFFFFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


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
    codes = characters.codes
    is_word = _classes(codes.astype(np.uint32)) == _WORD_CLASS
    edges = np.diff(np.concatenate(([False], is_word, [False])).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    powers = _powers(_BASE, len(codes))
    prefix = np.concatenate((np.zeros(1, np.uint64), np.cumsum(codes * powers, dtype=np.uint64)))
    # sum(c[i] * B^i) over the word, moved to where its first letter has power 0
    hashes = (prefix[ends] - prefix[begins]) * _powers(_BASE_INVERSE, len(codes))[begins]
    offsets = np.searchsorted(begins, characters.starts).astype(np.int64)
    return Words(hashes, begins.astype(np.int64), ends.astype(np.int64), offsets)


def _powers(base: int, count: int) -> UIntArray:
    powers = np.full(max(count, 1), base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)[:count]


def word_hash(word: str) -> int:
    """The raw hash that `words` gives a (normalised) word."""
    total, power = 0, 1
    for character in word:
        total += ord(character) * power
        power = power * _BASE & 0xFFFFFFFFFFFFFFFF
    return total & 0xFFFFFFFFFFFFFFFF


def grams(
    characters: Characters,
    found: Words,
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
        (ids from `word_buckets` on, those with a space inside from `inner_buckets` on).
    """
    cut, across = word_buckets(buckets), inner_buckets(buckets) if apart else buckets
    parts: list[tuple[IntArray, IntArray]] = []
    hashes = found.hashes
    for n in range(1, word_ngrams + 1):
        if n > 1:  # order matters in a pair, hence the factor
            hashes = mix(hashes[:-1], n) * np.uint64(_BASE) + found.hashes[n - 1 :]
        parts.append(_windows(bucket(mix(hashes, n), 1, cut), found.offsets, n))
    rolling = characters.codes
    spaces = np.concatenate(([0], np.cumsum(rolling == _SPACE)))
    for n in range(1, chars_max + 1):
        if n > 1:
            rolling = rolling[:-1] * np.uint64(_BASE) + characters.codes[n - 1 :]
        if n >= chars_min:
            mixed = mix(rolling, 16 + n)
            ids = bucket(mixed, cut, across)
            if apart and n > 2:
                has_space = spaces[n - 1 : -1] != spaces[1 : 1 - n]
                ids[has_space] = bucket(mixed[has_space], across, buckets)
            parts.append(_windows(ids, characters.starts, n))
    return _interleave(parts, len(characters))


def _windows(ids: IntArray, offsets: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Ids of the windows of length n that stay within one text, and how many each text has."""
    lengths = np.diff(offsets)
    counts = np.maximum(lengths - n + 1, 0)
    crossing = np.zeros(len(ids) + n, dtype=bool)
    for back in range(1, n):  # the last n-1 positions of a text start windows that reach into the next
        crossing[np.maximum(offsets[1:] - back, offsets[:-1])[lengths > 0]] = True
    return ids[~crossing[: len(ids)]], counts


def _interleave(parts: list[tuple[IntArray, IntArray]], count: int) -> tuple[IntArray, IntArray]:
    """Merges features that are each grouped by text into one that is grouped by text."""
    lengths = np.stack([counts for _, counts in parts]) if parts else np.zeros((0, count), np.int64)
    offsets = np.concatenate(([0], np.cumsum(lengths.sum(axis=0)))).astype(np.int64)
    values = np.empty(int(offsets[-1]), dtype=np.int64)
    begin = offsets[:-1].copy()
    for ids, counts in parts:
        first = np.cumsum(counts) - counts
        values[np.repeat(begin - first, counts) + np.arange(len(ids))] = ids
        begin += counts
    return values, offsets
