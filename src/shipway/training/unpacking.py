"""Records that an encoder packed, to features inside tf.data: the encoder's own code, called with a batch of records.

Imports TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec
from shipway.inputs.base import BadRequest
from shipway.recipes.arrays import Encoded, Ragged
from shipway.recipes.base import Packs
from shipway.training.shards import UNREADABLE

DTYPES = {"int64": tf.int64, "float32": tf.float32, "uint8": tf.uint8, "bytes": tf.string}


def is_ragged(spec: FeatureSpec) -> bool:
    """Whether each row has a length of its own."""
    return bool(spec.shape) and spec.shape[0] is None


class UnreadableRecord(ValueError):
    """A record that looked in order and is not; inside a graph TensorFlow makes an error of its own of it."""


class Unpacking:
    """Parsed tensors of packed records -> parsed tensors of features.

    Args:
        encoder: The dataset's.
        packed: What the records hold.
        features: Those to give.
    """

    def __init__(self, encoder: Packs, packed: Mapping[str, FeatureSpec], features: Mapping[str, FeatureSpec]) -> None:
        self.packed, self._encoder, self._features = dict(packed), encoder, dict(features)

    def __call__(self, parsed: Mapping[str, Any]) -> dict[str, Any]:
        given = [part for name in self.packed for part in _parts(parsed[name])]
        types = [
            dtype
            for spec in self._features.values()
            for dtype in (DTYPES[spec.dtype], *([tf.int64] if is_ragged(spec) else []))
        ]
        # Called for its result alone: equal records give equal features.
        made = iter(tf.nest.flatten(tf.numpy_function(self._unpack, given, types, stateful=False)))
        return {name: _tensor(spec, made) for name, spec in self._features.items()}

    def _unpack(self, *given: Any) -> list[Any]:
        parts = iter(given)
        records: Encoded = {}
        for name, spec in self.packed.items():
            value = next(parts)
            records[name] = Ragged(value.reshape(-1), next(parts) * _width(spec)) if is_ragged(spec) else value
        encoded = self.encoded(records)
        return [array for name, spec in self._features.items() for array in _arrays(encoded[name], spec)]

    def encoded(self, records: Encoded) -> Encoded:
        """The features of some records, without TensorFlow.

        Raises:
            UnreadableRecord: one that looked in order.
        """
        try:
            return self._encoder.unpack(records, tuple(self._features))
        except BadRequest as error:
            raise UnreadableRecord(f"{UNREADABLE}: {error}") from error

    def columns(self, records: Encoded) -> Encoded:
        """`encoded`, rows of items of several numbers as such."""
        return {name: _items(value, self._features[name]) for name, value in self.encoded(records).items()}


def unreadable(error: Exception) -> str | None:
    """Why a record could not be unpacked, where an error of TensorFlow's says so."""
    match = re.search(rf"{UNREADABLE}: ([^\n]*)", str(error))
    return match[1] if match else None


def as_columns(parsed: Mapping[str, Any]) -> Encoded:
    """Parsed tensors as arrays."""
    return {
        name: Ragged(value.flat_values.numpy().reshape(-1, *value.shape[2:]), value.row_splits.numpy())
        if isinstance(value, tf.RaggedTensor)
        else value.numpy()
        for name, value in parsed.items()
    }


def as_declared(column: NDArray[Any] | Ragged, spec: FeatureSpec) -> NDArray[Any] | Ragged:
    """The column in its declared type: what is held may be narrower."""
    dtype = DTYPES[spec.dtype].as_numpy_dtype
    if isinstance(column, Ragged):
        return Ragged(column.values.astype(dtype, copy=False), column.offsets)
    return column.astype(dtype, copy=False)


def as_tensors(columns: Encoded) -> dict[str, Any]:
    """Arrays as parsed tensors."""
    return {
        name: tf.RaggedTensor.from_row_splits(tf.constant(value.values), tf.constant(value.offsets), validate=False)
        if isinstance(value, Ragged)
        else tf.constant(value)
        for name, value in columns.items()
    }


def _parts(value: Any) -> tuple[Any, ...]:
    if isinstance(value, tf.RaggedTensor):
        return value.flat_values, value.row_splits
    return (value,)


def _arrays(value: Any, spec: FeatureSpec) -> tuple[Any, ...]:
    dtype = DTYPES[spec.dtype].as_numpy_dtype
    if isinstance(value, Ragged):
        return value.values.astype(dtype, copy=False), value.offsets
    return (np.asarray(value).astype(dtype, copy=False),)


def _tensor(spec: FeatureSpec, made: Any) -> Any:
    values, inner = next(made), [int(size or 0) for size in spec.shape[1:]]
    if not is_ragged(spec):
        values.set_shape([None, *spec.shape])
        return values
    splits = next(made)
    splits.set_shape([None])
    values.set_shape([None])
    if inner:
        values, splits = tf.reshape(values, [-1, *inner]), splits // _width(spec)
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def _items(value: Any, spec: FeatureSpec) -> NDArray[Any] | Ragged:
    if not isinstance(value, Ragged):
        return np.asarray(value)
    if value.values.ndim == len(spec.shape):
        return value
    return Ragged(value.values.reshape(-1, *spec.shape[1:]), value.offsets // _width(spec))


def _width(spec: FeatureSpec) -> int:
    """Values of one item of a row."""
    return int(np.prod([size or 0 for size in spec.shape[1:]], dtype=np.int64))
