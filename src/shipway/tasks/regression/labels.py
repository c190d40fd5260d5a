"""Numbers as the label column holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from shipway import numerals
from shipway.artifacts import FeatureSpec
from shipway.recipes.arrays import Encoded
from shipway.specs import Spec

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Encoder


class Params(Spec):
    """Section `dataset.labels`: nothing to choose."""


class NumberLabels:
    """Implements `shipway.tasks.base.Labels`."""

    Params: type[BaseModel] = Params
    least_classes = 0

    def read(self, cells: pl.Expr, params: BaseModel) -> tuple[pl.Expr, pl.Expr]:
        """The number's shortest text, one for equal numbers, and why the cell holds none."""
        return numerals.written(numerals.parsed(cells)), numerals.reason(cells, "label")

    def classes(self, labels: pl.Series) -> None:
        return None

    def notes(self, counts: Mapping[str, int]) -> list[str]:
        return []

    def targets(self, encoder: Encoder) -> dict[str, FeatureSpec]:
        """`label`: the number."""
        return {"label": FeatureSpec(dtype="float32", shape=[])}

    def encode(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any], encoded: Encoded) -> Encoded:
        return {"label": np.fromiter(map(float, labels), np.float32, len(labels))}
