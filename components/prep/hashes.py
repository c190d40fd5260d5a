"""The pinned hashes: which side of the split a row stands on must survive a change of engine.

Definition (docs/decisions/0030-pinned-hash.md and 0148 have the same words and test vectors):

    hash(s)       = XXH3-64 with seed 0 over s, a text as its UTF-8 bytes
    mix(x)        = the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over x + 0x9E3779B97F4A7C15, modulo 2^64
    content       = the input's; of a text NFC, lower-cased, each run of white space one space, none at the ends
    group_hash    = hash(NFC(group), stripped), or hash(content) where there is no group column
    position      = mix(group_hash XOR mix(seed)) / 2^64, in [0, 1)
    split         = test if position < test_fraction, eval if < test_fraction + eval_fraction, else train
    cell(c)       = a text as it is; nothing for null; of bytes the 16 hexadecimal digits of hash(c)
    row_hash      = hash(cell of each of the input's columns, the label, the group, with 0x1F between)
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from shipway.artifacts import SPLITS

U64 = NDArray[np.uint64]
SPLIT_CODE = {name: code for code, name in enumerate(SPLITS)}  # train 0, eval 1, test 2
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def text_form(cells: pl.Series) -> pl.Series:
    """Cells as a row's hash takes them."""
    if cells.dtype == pl.Binary:
        digits = [None if cell is None else f"{xxh3_64_intdigest(cell):016x}" for cell in cells]
        cells = pl.Series(cells.name, digits, dtype=pl.String)
    return cells.fill_null("") if cells.null_count() else cells


def hash_strings(values: pl.Series) -> U64:
    """XXH3-64 of each string's UTF-8 bytes, shape (n,)."""
    return np.fromiter(map(xxh3_64_intdigest, values.cast(pl.Binary).to_list()), dtype=np.uint64, count=len(values))


def distinct(hashes: U64) -> U64:
    """Each once, sorted; several times as fast as `np.unique`, which goes through a table."""
    in_order = np.sort(hashes)
    is_first = np.ones(len(hashes), dtype=bool)
    np.not_equal(in_order[1:], in_order[:-1], out=is_first[1:])
    unique: U64 = in_order[is_first]
    return unique


def copies(hashes: U64) -> NDArray[np.int64]:
    """How many equal ones stand in front of each, shape (n,)."""
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    firsts = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    numbers = np.empty(len(hashes), dtype=np.int64)
    numbers[order] = np.arange(len(hashes)) - np.repeat(firsts, np.diff(firsts, append=len(hashes)))
    return numbers


def mix(values: U64) -> U64:
    """A bijection of 64-bit words that spreads near values over the whole range."""
    with np.errstate(over="ignore"):
        z = values + GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def split_codes(group_hashes: U64, seed: int, eval_fraction: float, test_fraction: float) -> NDArray[np.uint8]:
    """0 train, 1 eval, 2 test for each group hash; a function of the hash and these numbers only, shape (n,)."""
    position = mix(group_hashes ^ mix(np.array([seed], dtype=np.uint64))) / np.float64(2**64)
    codes = np.full(len(group_hashes), SPLIT_CODE["train"], dtype=np.uint8)
    codes[position < test_fraction + eval_fraction] = SPLIT_CODE["eval"]
    codes[position < test_fraction] = SPLIT_CODE["test"]
    return codes
