"""Texts as plain features: TF-IDF of word 1-2-grams and character 2-5-grams, for linear baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Above this many texts, grams that occur once are left out: half the vocabulary, none of the accuracy.
_PRUNE_TEXTS = 20_000


def fit(texts: Sequence[str]) -> tuple[csr_array, Callable[[Sequence[str]], csr_array]]:
    """The features of texts, float32 (n, k), and what gives those of others by the same vocabulary and weights."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    least = 2 if len(texts) > _PRUNE_TEXTS else 1
    # Single letters count as words: the default pattern drops "I", "a" and whole languages' worth of particles.
    words = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\w+", sublinear_tf=True, min_df=least, dtype=np.float32
    )
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=least, dtype=np.float32
    )
    grams: Any = make_union(words, characters)
    return grams.fit_transform(texts), grams.transform
