"""Arrays of many rows, also where each row's length is its own. NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Variable-length rows as Arrow and TensorFlow hold them.

    Attributes:
        values: All rows' values one behind the other, int64 or float32, shape (total,) or (total, ...).
        offsets: int64, shape (n + 1,); row i is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, rows: Sequence[NDArray[Any]], dtype: Any) -> Ragged:
        """From one array a row."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate(rows).astype(dtype) if rows else np.empty(0, dtype), offsets)

    def row(self, i: int) -> NDArray[Any]:
        """One row's values."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def part(self, start: int, stop: int) -> Ragged:
        """Some rows that follow each other; shares the values."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def to_padded(self, padding: Any = 0) -> NDArray[Any]:
        """Dense (n, longest row, at least 1), padded behind."""
        lengths = np.diff(self.offsets)
        width = max(int(lengths.max(initial=0)), 1)
        dense = np.full((len(lengths), width, *self.values.shape[1:]), padding, dtype=self.values.dtype)
        dense[np.arange(width) < lengths[:, None]] = self.values
        return dense


Encoded = dict[str, "NDArray[Any] | Ragged"]  # feature name -> all examples of a chunk
Columns = dict[str, "NDArray[Any] | Ragged"]  # a prediction's parts by name, an item a row


def dense(encoded: Mapping[str, NDArray[Any] | Ragged]) -> dict[str, NDArray[Any]]:
    """What a model takes: every feature padded to the longest row of this batch."""
    return {name: value.to_padded() if isinstance(value, Ragged) else value for name, value in encoded.items()}


def stack_padded(batches: Sequence[NDArray[Any]], padding: Any = 0) -> NDArray[Any]:
    """Batches one behind the other, each padded behind to the widest of every dimension but the first; at least one."""
    shape = np.max([batch.shape[1:] for batch in batches], axis=0, initial=0).astype(int)
    result = np.full((sum(map(len, batches)), *shape), padding, dtype=batches[0].dtype)
    start = 0
    for batch in batches:
        result[(slice(start, start + len(batch)), *map(slice, batch.shape[1:]))] = batch
        start += len(batch)
    return result


def take(columns: Columns, rows: NDArray[np.integer[Any]]) -> Columns:
    """The given rows, in that order."""
    return {
        name: Ragged.of([value.row(int(i)) for i in rows], value.values.dtype)
        if isinstance(value, Ragged)
        else value[rows]
        for name, value in columns.items()
    }


def part(columns: Columns, start: int, stop: int) -> Columns:
    """Some rows that follow each other, at least one; shares the values."""
    return {
        name: value.part(start, stop) if isinstance(value, Ragged) else value[start:stop]
        for name, value in columns.items()
    }


def concatenate(parts: Iterable[Columns]) -> Columns:
    """Batches one behind the other; at least one."""
    batches = list(parts)
    return {name: _joined([batch[name] for batch in batches]) for name in batches[0]}


def _joined(pieces: list[NDArray[Any] | Ragged]) -> NDArray[Any] | Ragged:
    arrays = [piece for piece in pieces if not isinstance(piece, Ragged)]
    if arrays:
        return np.concatenate(arrays)
    ragged = [piece for piece in pieces if isinstance(piece, Ragged)]
    starts = np.cumsum([0, *(len(piece.values) for piece in ragged[:-1])])
    offsets = [piece.offsets[1:] + start for piece, start in zip(ragged, starts, strict=True)]
    return Ragged(np.concatenate([piece.values for piece in ragged]), np.concatenate([[0], *offsets]))
