"""The pinned hashes: which side of the split a row stands on must survive a change of engine.

Definition (docs/decisions/0030-pinned-hash.md has the same words and test vectors):

    normalise(s)  = NFC(s), lower-cased, each run of white space one space, none at the ends
    hash(s)       = XXH3-64 with seed 0 over the UTF-8 bytes of s
    mix(x)        = the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over x + 0x9E3779B97F4A7C15, modulo 2^64
    group_hash    = hash(NFC(group), stripped), or hash(normalise(text)) where there is no group column
    position      = mix(group_hash XOR mix(seed)) / 2^64, in [0, 1)
    split         = test if position < test_fraction, eval if < test_fraction + eval_fraction, else train
    row_hash      = hash(text 0x1F label 0x1F group)
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


def normalise(text: pl.Expr) -> pl.Expr:
    """Texts that a person would call the same become equal."""
    return text.str.normalize("NFC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" ")


def hash_strings(values: pl.Series) -> U64:
    """XXH3-64 of each string's UTF-8 bytes, shape (n,)."""
    return np.fromiter(map(xxh3_64_intdigest, values.cast(pl.Binary)), dtype=np.uint64, count=len(values))


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
