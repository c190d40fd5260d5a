from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipway.errors import InvalidSpec
from shipway.recipes.arrays import Columns, Ragged
from shipway.scoring import ModelSession
from shipway.scoring.predictions import predict_rows, read_columns, to_series
from shipway.scoring.rows import read_rows
from tests.fixtures import toy


def same(first: Columns, second: Columns) -> None:
    assert list(first) == list(second)
    for name, value in first.items():
        other = second[name]
        if isinstance(value, Ragged):
            assert isinstance(other, Ragged)
            np.testing.assert_array_equal(value.offsets, other.offsets)
            value, other = value.values, other.values
        assert isinstance(other, np.ndarray)
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(value, other)


def test_predictions_of_every_shape_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    columns: Columns = {
        "amount": np.array([1.5, 2.5, 0.25]),
        "is_out": np.array([True, False, True]),
        "name": np.array(["a", "b", ""], dtype=object),
        "probabilities": np.arange(12, dtype=np.float32).reshape(3, 4),
        "boxes": np.arange(24, dtype=np.int64).reshape(3, 4, 2),
        "names": np.array([["a", "b"], ["c", ""], ["d", "e"]], dtype=object),
        "tags": Ragged(np.array([3, 1, 2], dtype=np.int64), np.array([0, 2, 2, 3], dtype=np.int64)),
        "scores": Ragged(np.array([0.5], dtype=np.float32), np.array([0, 0, 1, 1], dtype=np.int64)),
        "nothing": Ragged(np.empty(0, dtype=np.int64), np.zeros(4, dtype=np.int64)),
    }
    for number in range(2):
        pl.DataFrame(to_series(columns)).write_parquet(tmp_path / f"{number}.parquet")
    pl.scan_parquet(tmp_path / "*.parquet").sink_parquet(tmp_path / "all")
    same(columns, read_columns(pl.read_parquet(tmp_path / "all")[3:], list(columns)))


def test_a_slice_that_is_called_like_a_kept_column_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    train = toy.rows(60)
    dataset = toy.write_dataset(tmp_path / "dataset", {"train": train, "test": train.with_columns(predicted="source")})
    session = ModelSession.open(toy.write_model(tmp_path / "model", dataset, train))
    frames = read_rows(dataset, "test", session.kind, columns=["predicted"])
    with pytest.raises(InvalidSpec, match="'predicted' is the name of a column that predictions are kept in"):
        predict_rows(session, frames, tmp_path / "predictions.parquet")
