"""What a deep model has to beat: always the same tags, and a logistic regression for each tag over plain features."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from shipway.inputs.base import GivesFeatures, Input
from shipway.tasks.classification.baselines import CHUNK
from shipway.tasks.tagging.figures import multi_hot
from shipway.tasks.tagging.labels import tags_of

TITLES = {"prior": "most frequent tags", "linear": "linear model of each tag"}
# TF-IDF rows are of length 1: with scikit-learn's own C = 1 the scores of a rare tag hardly ever reach 0.5 (0150).
_C = 10.0


class Prior:
    """Always the most frequent tags: as many of them as give the best micro F1 on training rows."""

    name = "prior"

    def __init__(self, tags: pl.Series) -> None:
        counts = (
            tags.explode(empty_as_null=False)
            .value_counts(name="rows")
            .sort("rows", tags.name, descending=[True, False])
        )
        right = counts["rows"].cum_sum().to_numpy()
        of = np.arange(1, len(right) + 1)
        f1 = 2 * right / (len(tags) * of + right[-1]) if len(right) else np.empty(0)
        self.tags = counts[tags.name].head(int(f1.argmax()) + 1 if len(f1) else 0).to_list()

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        rows = sum(len(frame) for frame in frames)
        return pl.DataFrame({"predicted": pl.Series([self.tags] * rows, dtype=pl.List(pl.String))})


class Linear:
    """A logistic regression for each tag, over the input's plain features (of texts n-grams); named from 0.5 on.

    Args:
        kind: An input that gives features.
        rows: Training rows.
        tags: Of the rows, list of strings a row.
        seed: Of the solver.
    """

    name = "linear"

    def __init__(self, kind: GivesFeatures, rows: pl.DataFrame, tags: pl.Series, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        features, self._features = kind.fit_features(rows)
        classes = sorted(tags.explode(empty_as_null=False).unique())
        hot = multi_hot(tags, classes).tocsc()
        self._always: list[str] = []
        self._models: dict[str, Any] = {}
        for number, tag in enumerate(classes):
            has_it = hot[:, [number]].toarray().ravel() > 0
            if has_it.all():
                self._always.append(tag)
            else:
                # More n-grams than rows: the dual problem takes seconds where the primal takes minutes.
                solver = LogisticRegression(C=_C, solver="liblinear", dual=True, random_state=seed)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)  # one tag of many, by a digit that nobody sees
                    self._models[tag] = solver.fit(features, has_it)

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        answers = [self._named(piece) for frame in frames for piece in frame.iter_slices(CHUNK)]
        return pl.concat(answers).to_frame("predicted")

    def _named(self, piece: pl.DataFrame) -> pl.Series:
        features = self._features(piece)
        named = [list(self._always) for _ in range(len(piece))]
        for tag, model in self._models.items():
            for row in np.flatnonzero(model.predict(features)):
                named[row].append(tag)
        return pl.Series(named, dtype=pl.List(pl.String))


def fit(name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Prior | Linear | None:
    """The named baseline; None for the linear one where no row has a tag, or where the input gives no features."""
    tags = tags_of(rows["label"]).alias("tag")
    if name == "prior":
        return Prior(tags)
    if not isinstance(kind, GivesFeatures) or not tags.list.len().sum():
        return None
    return Linear(kind, rows, tags, seed)
