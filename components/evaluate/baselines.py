"""What a deep model has to beat: always the most frequent label, and a linear SVM over TF-IDF n-grams.

Both are fitted on the training split and scored on the rows that the model is scored on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from shipway.artifacts import BaselineMetrics
from shipway.components.evaluate.core import Ints, averages

_CHUNK = 8192
# Above this many rows, grams that occur once are left out: half the vocabulary, none of the accuracy.
_PRUNE_ROWS = 20_000


class Baseline:
    """One baseline, fitted."""

    def __init__(self, name: str, classifier: Any, rows: int, sampled: bool) -> None:
        self.name = name
        self._classifier = classifier
        self._rows = rows
        self._sampled = sampled

    def predict(self, frames: Iterable[pl.DataFrame], labels: Sequence[str]) -> Ints:
        """Its answers to frames with a `text` column, as positions in `labels`, shape (n,)."""
        ids = {label: i for i, label in enumerate(labels)}
        answers = [
            [ids[label] for label in self._classifier.predict(piece["text"].to_list())]
            for frame in frames
            for piece in frame.iter_slices(_CHUNK)
        ]
        return np.concatenate([np.array(part, dtype=np.int64) for part in answers])

    def measured(self, counts: Ints) -> BaselineMetrics:
        """Its figures, given its confusion matrix."""
        found = averages(counts)
        return BaselineMetrics(
            name=self.name,
            accuracy=found["accuracy"],
            macro_f1=found["macro_f1"],
            trained_rows=self._rows,
            sampled=self._sampled,
        )


def fit_majority(class_counts: dict[str, int]) -> Baseline:
    """Always the label with the most training rows; the first by name of equals."""
    label = min(class_counts, key=lambda name: (-class_counts[name], name))

    class Majority:
        def predict(self, texts: list[str]) -> list[str]:
            return [label] * len(texts)

    return Baseline("majority", Majority(), sum(class_counts.values()), sampled=False)


def fit_linear_svm(rows: pl.DataFrame, *, sampled: bool, seed: int) -> Baseline:
    """A linear SVM over TF-IDF of word 1-2-grams and character 2-5-grams.

    Args:
        rows: Training rows, `text` and `label`, of at least two labels.
        sampled: They are a sample of the training split.
        seed: Of the solver.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    least = 2 if len(rows) > _PRUNE_ROWS else 1
    # Single letters count as words: the default pattern drops "I", "a" and whole languages' worth of particles.
    words = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"(?u)\w+", sublinear_tf=True, min_df=least, dtype=np.float32
    )
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=least, dtype=np.float32
    )
    classifier = make_pipeline(make_union(words, characters), LinearSVC(C=1.0, random_state=seed))
    classifier.fit(rows["text"].to_list(), rows["label"].to_list())
    return Baseline("linear_svm", classifier, len(rows), sampled)


def sample_rows(frames: Iterable[pl.DataFrame], rows: int, limit: int, seed: int) -> tuple[pl.DataFrame, bool]:
    """All training rows, or a random `limit` of them; never more than a little above `limit` in memory.

    Args:
        frames: The training split's rows.
        rows: How many there are.
        limit: How many may be taken.
        seed: Of the choice.

    Returns:
        `text` and `label`, and whether rows were left out.
    """
    if rows <= limit:
        return pl.concat([frame.select("text", "label") for frame in frames]), False
    random = np.random.default_rng(seed)
    taken = np.sort(random.choice(rows, size=limit, replace=False))
    parts, start = [], 0
    for frame in frames:
        inside = taken[(taken >= start) & (taken < start + len(frame))] - start
        parts.append(frame.select("text", "label")[inside])
        start += len(frame)
    return pl.concat(parts), True
