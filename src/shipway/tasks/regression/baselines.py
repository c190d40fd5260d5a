"""What a model has to beat: always the mean of the training rows, and a linear regression over plain features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from shipway.inputs.base import GivesFeatures, Input

TITLES = {"mean": "mean of the training rows", "ridge": "ridge regression"}

_CHUNK = 8192


class Mean:
    """Always the mean of the training rows."""

    name = "mean"

    def __init__(self, labels: pl.Series) -> None:
        self.mean = float(_numbers(labels).mean())

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        rows = sum(len(frame) for frame in frames)
        return pl.DataFrame({"predicted": pl.repeat(self.mean, rows, dtype=pl.Float64, eager=True)})


class RidgeRegression:
    """Least squares over the input's plain features, with a squared penalty of 1 (Hoerl and Kennard 1970).

    Args:
        kind: An input that gives features.
        rows: Training rows.
        seed: Of the solver.
    """

    name = "ridge"

    def __init__(self, kind: GivesFeatures, rows: pl.DataFrame, seed: int) -> None:
        from sklearn.linear_model import Ridge

        features, self._features = kind.fit_features(rows)
        self._model: Any = Ridge(alpha=1.0, random_state=seed)
        self._model.fit(features, _numbers(rows["label"]))

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        answers = [
            pl.Series("predicted", self._model.predict(self._features(piece)), dtype=pl.Float64)
            for frame in frames
            for piece in frame.iter_slices(_CHUNK)
        ]
        return pl.concat(answers).to_frame()


def fit(name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Mean | RidgeRegression | None:
    """The named baseline; None for ridge where the input gives no features."""
    if name == "mean":
        return Mean(rows["label"])
    return RidgeRegression(kind, rows, seed) if isinstance(kind, GivesFeatures) else None


def _numbers(labels: pl.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    return labels.cast(pl.Float64).to_numpy()
