"""Columns of a table as plain features: standardised numbers and one-hot categories, for linear baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


def fit(cells: pl.DataFrame) -> tuple[csr_array, Callable[[pl.DataFrame], csr_array]]:
    """The features of rows, float64 (n, k), and what gives those of others by the same scales and categories.

    Args:
        cells: Float64 columns are numbers, String columns categories; without nulls.
    """
    from scipy.sparse import csr_array, hstack
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [name for name, dtype in cells.schema.items() if dtype.is_numeric()]
    categorical = [name for name in cells.columns if name not in numeric]
    scaler, encoder = StandardScaler(), OneHotEncoder(handle_unknown="ignore")

    def texts(rows: pl.DataFrame) -> NDArray[np.object_]:
        return rows.select(categorical).to_numpy().astype(object)

    if numeric:
        scaler.fit(cells.select(numeric).to_numpy())
    if categorical:
        encoder.fit(texts(cells))

    def transform(rows: pl.DataFrame) -> csr_array:
        parts = [csr_array(scaler.transform(rows.select(numeric).to_numpy()))] if numeric else []
        return csr_array(hstack([*parts, encoder.transform(texts(rows))] if categorical else parts, format="csr"))

    return transform(cells), transform
