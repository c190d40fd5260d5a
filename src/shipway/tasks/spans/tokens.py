"""The words of texts, with their places. NumPy alone: prep, baselines and the predictor divide a text alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from shipway.recipes.arrays import Ragged

_SPACE, _LETTER, _DIGIT, _SINGLE, _JOINED, _HIDDEN = range(6)
_BMP = 0x10000
# Scripts that put no blanks between words: each letter is a token, since nobody could say where a word ends.
_WITHOUT_BLANKS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF),
                   (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip


def tokens(texts: Sequence[str]) -> tuple[Ragged, Ragged]:
    """Where each token begins and ends in its text, int64, in code points, the end exclusive.

    A token is a run of letters, a run of digits, or any other character alone. Combining marks and variation selectors
    belong to what stands before them; format characters (joiners, marks of direction, zero-width blanks) to the token
    that they stand within, not at whose ends, as whoever marks a word does not see them; white space and control
    characters belong to no token.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    text_starts = np.concatenate(([0], np.cumsum(lengths)))
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    is_first = np.zeros(len(codes) + 1, dtype=bool)
    is_first[text_starts] = True
    kinds, joined, hidden = _kinds(codes, is_first[:-1])
    changes = np.append(True, kinds[1:] != kinds[:-1]) if len(kinds) else np.zeros(0, dtype=bool)
    begins = (kinds != _SPACE) & ~joined & (is_first[:-1] | changes | (kinds == _SINGLE))
    follows = np.append(~(begins | (kinds == _SPACE) | is_first[:-1])[1:], False)[: len(kinds)]
    shown = np.maximum.accumulate(np.where(hidden, 0, np.arange(len(codes))))  # the last visible one up to here
    starts, ends = np.flatnonzero(begins), shown[np.flatnonzero((kinds != _SPACE) & ~follows)] + 1
    offsets = np.searchsorted(starts, text_starts).astype(np.int64)
    shift = np.repeat(text_starts[:-1], np.diff(offsets))
    return Ragged(starts - shift, offsets), Ragged(ends - shift, offsets)


Marks = NDArray[np.bool_]


def _kinds(codes: NDArray[np.uint32], is_first: Marks) -> tuple[NDArray[np.uint8], Marks, Marks]:
    """The kind of each character, of a joined one that of its base; which belong to the one before; which are format
    characters."""
    kinds = _kind_table()[np.minimum(codes, _BMP - 1)]
    beyond = np.flatnonzero(codes >= _BMP)
    if len(beyond):
        distinct, inverse = np.unique(codes[beyond], return_inverse=True)
        kinds[beyond] = np.array([_kind(int(code)) for code in distinct], dtype=np.uint8)[inverse]
    is_hidden, places = kinds == _HIDDEN, np.arange(len(kinds))
    before = np.maximum.accumulate(np.where(is_hidden, -1, places))  # the last visible one up to here, of any text
    begun = np.maximum.accumulate(np.where(is_first, places, 0))
    kinds[is_hidden & ((before < begun) | (kinds[before] == _SPACE))] = _SPACE
    is_joined = (kinds == _HIDDEN) | (kinds == _JOINED)
    has_base = np.append(False, kinds[:-1] != _SPACE)[: len(kinds)] & ~is_first
    kinds = np.where(is_joined & ~has_base, _LETTER, kinds).astype(np.uint8)
    is_joined &= has_base
    bases = np.maximum.accumulate(np.where(is_joined, 0, places))
    return kinds[bases], is_joined, is_hidden


@cache
def _kind_table() -> NDArray[np.uint8]:
    """The kind of every code point of the Basic Multilingual Plane."""
    return np.fromiter(map(_kind, range(_BMP)), dtype=np.uint8, count=_BMP)


def _kind(code: int) -> int:
    character = chr(code)
    category = unicodedata.category(character)
    if category in ("Cc", "Zs", "Zl", "Zp") or character.isspace():
        return _SPACE
    if category == "Cf":
        return _HIDDEN
    if category[0] == "M":
        return _JOINED
    if category[0] == "N":
        return _DIGIT
    if category[0] != "L" or any(first <= code <= last for first, last in _WITHOUT_BLANKS):
        return _SINGLE
    return _LETTER
