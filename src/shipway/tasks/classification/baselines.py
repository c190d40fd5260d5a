"""What a deep model has to beat: always the most frequent label, and a linear SVM over TF-IDF n-grams.

Both are fitted on the training split and scored on the rows that the model is scored on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from shipway.inputs.base import Input

TITLES = {"majority": "most frequent label", "linear_svm": "linear SVM"}

CHUNK = 8192
# Above this many rows, grams that occur once are left out: half the vocabulary, none of the accuracy.
_PRUNE_ROWS = 20_000


class Majority:
    """Always the label with the most training rows; the first by name of equals."""

    name = "majority"

    def __init__(self, labels: pl.Series) -> None:
        counts = dict(labels.value_counts().iter_rows())
        self.label = min(counts, key=lambda label: (-counts[label], label))

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        rows = sum(len(frame) for frame in frames)
        return pl.DataFrame({"predicted": pl.repeat(self.label, rows, dtype=pl.String, eager=True)})


class LinearSvm:
    """A linear SVM over TF-IDF of word 1-2-grams and character 2-5-grams.

    Args:
        kind: An input whose values are texts.
        rows: Training rows of at least two labels.
        seed: Of the solver.
    """

    name = "linear_svm"

    def __init__(self, kind: Input, rows: pl.DataFrame, seed: int) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        self._kind = kind
        self._classifier: Any = make_pipeline(ngrams(len(rows)), LinearSVC(C=1.0, random_state=seed))
        self._classifier.fit(kind.values(rows), rows["label"].to_list())

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        answers = [
            pl.Series("predicted", self._classifier.predict(self._kind.values(piece)), dtype=pl.String)
            for frame in frames
            for piece in frame.iter_slices(CHUNK)
        ]
        return pl.concat(answers).to_frame()


def ngrams(rows: int) -> Any:
    """TF-IDF of word 1-2-grams and character 2-5-grams, to be fitted on so many texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    least = 2 if rows > _PRUNE_ROWS else 1
    # Single letters count as words: the default pattern drops "I", "a" and whole languages' worth of particles.
    words = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\w+", sublinear_tf=True, min_df=least, dtype=np.float32
    )
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=least, dtype=np.float32
    )
    return make_union(words, characters)


def fit(name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Majority | LinearSvm | None:
    """The named baseline; None for a linear SVM where there is one label, or where the inputs are no texts."""
    if name == "majority":
        return Majority(rows["label"])
    is_text = all(isinstance(value, str) for value in kind.values(rows.head(1)))
    return LinearSvm(kind, rows, seed) if is_text and rows["label"].n_unique() > 1 else None
