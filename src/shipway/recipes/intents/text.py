"""Texts to one array of normalised code points, a block of texts at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

UIntArray = NDArray[np.uint64]
IntArray = NDArray[np.int64]

BLOCK = 1 << 14  # characters that are hashed together: their arrays fit into a core's cache
SPACE = np.uint64(32)

_SEPARATOR = "\x00"
_JOINT = " \x00"  # the space behind one text; the separator becomes the one before the next
_SPACE_CLASS, _WORD_CLASS, _OTHER_CLASS = 0, 1, 2


@dataclass(frozen=True)
class Characters:
    """A chunk of normalised texts, one behind the other, each with one space before and one behind.

    Attributes:
        codes: Code points, uint64, shape (total,).
        starts: Where each text begins, int64, shape (n + 1,).
        is_word: Letters, marks and digits, bool, shape (total,).
    """

    codes: UIntArray
    starts: IntArray
    is_word: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts) - 1


def blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Consecutive texts of `BLOCK` characters or few more together; at least one block, one text at least in each."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    ends = np.cumsum(lengths)
    start = 0
    while True:
        full = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + BLOCK, side="left")) + 1
        yield texts[start:full]
        start = full
        if start >= len(texts):
            return


def normalise(texts: Sequence[str], fold_accents: bool = False) -> Characters:
    """NFKC, lower case, whitespace runs to one space; optionally letters without their accents."""
    joined = _JOINT.join(texts)
    if joined.count(_SEPARATOR) != max(len(texts) - 1, 0):
        joined = _JOINT.join(text.replace(_SEPARATOR, " ") for text in texts)
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
        return Characters(np.zeros(0, np.uint64), np.zeros(1, np.int64), np.zeros(0, np.bool_))
    return _collapse(np.frombuffer(f" {joined} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32))


def _collapse(codes: NDArray[np.uint32]) -> Characters:
    """One space between words, one at both ends of each text, in place of each separator its text's first."""
    classes = _classes(codes)
    is_space = classes == _SPACE_CLASS
    firsts = np.flatnonzero(codes == 0)
    spaced = codes.astype(np.uint64)
    spaced[is_space] = SPACE
    is_second = is_space[1:] & is_space[:-1]
    is_second[firsts - 1] = False
    seconds = np.flatnonzero(is_second) + 1
    is_word = classes == _WORD_CLASS
    if len(seconds):
        spaced, is_word = np.delete(spaced, seconds), np.delete(is_word, seconds)
        firsts -= np.searchsorted(seconds, firsts)
    return Characters(spaced, np.concatenate(([0], firsts, [len(spaced)])), is_word)


@cache
def _class_table() -> NDArray[np.uint8]:
    """Class of every code point of the Basic Multilingual Plane."""
    characters = list(map(chr, range(0x10000)))
    categories = list(map(unicodedata.category, characters))
    by_category = {category: _class_of(category) for category in set(categories)}
    table = np.fromiter(map(by_category.__getitem__, categories), dtype=np.uint8, count=len(characters))
    table[np.fromiter(map(str.isspace, characters), dtype=bool, count=len(characters))] = _SPACE_CLASS
    return table


def _class_of(category: str) -> int:
    return _SPACE_CLASS if category in ("Cc", "Zs") else _WORD_CLASS if category[0] in "LMN" else _OTHER_CLASS


def _classes(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    table = _class_table()
    if codes.max(initial=0) < 0x10000:
        return table[codes]
    classes = table[np.minimum(codes, 0xFFFF)]
    beyond = np.flatnonzero(codes >= 0x10000)
    distinct, inverse = np.unique(codes[beyond], return_inverse=True)
    classes[beyond] = np.array([_class_of(unicodedata.category(chr(code))) for code in distinct], dtype=np.uint8)[
        inverse
    ]
    return classes
