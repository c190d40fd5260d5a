"""What a deep model has to beat: always the most frequent label, and a linear SVM over plain features.

Both are fitted on the training split and scored on the rows that the model is scored on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from shipway.inputs.base import GivesFeatures, Input

TITLES = {"majority": "most frequent label", "linear_svm": "linear SVM"}

CHUNK = 8192


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
    """A linear SVM over the input's plain features: of texts TF-IDF of n-grams.

    Args:
        kind: An input that gives features.
        rows: Training rows of at least two labels.
        seed: Of the solver.
    """

    name = "linear_svm"

    def __init__(self, kind: GivesFeatures, rows: pl.DataFrame, seed: int) -> None:
        from sklearn.svm import LinearSVC

        features, self._features = kind.fit_features(rows)
        self._classifier: Any = LinearSVC(C=1.0, random_state=seed)
        self._classifier.fit(features, rows["label"].to_list())

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        answers = [
            pl.Series("predicted", self._classifier.predict(self._features(piece)), dtype=pl.String)
            for frame in frames
            for piece in frame.iter_slices(CHUNK)
        ]
        return pl.concat(answers).to_frame()


def fit(name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Majority | LinearSvm | None:
    """The named baseline; None for a linear SVM where there is one label, or where the input gives no features."""
    if name == "majority":
        return Majority(rows["label"])
    if not isinstance(kind, GivesFeatures) or rows["label"].n_unique() < 2:
        return None
    return LinearSvm(kind, rows, seed)
