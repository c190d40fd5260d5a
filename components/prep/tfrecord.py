"""TFRecord files of tf.train.Example, written without TensorFlow.

Messages: tensorflow/core/example/{example,feature}.proto. The wire format is assembled by columns: filling a protobuf
object with the ~150 ids of a row costs more than encoding its text did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, pairwise
from operator import add
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from shipway.framing import SIZES, field, field_head, frame_head, masked_crcs
from shipway.recipes.arrays import Ragged

Column = NDArray[np.generic] | Ragged
Bytes = NDArray[np.uint8]
Entries = tuple[list[Iterable[bytes]], NDArray[np.int64]]

_INT64_LIST, _FLOAT_LIST, _BYTES_LIST = 3, 2, 1  # field numbers of Feature.kind


def write_records(file: BinaryIO, records: Sequence[bytes]) -> int:
    """Appends framed records; gives back the bytes written."""
    heads = _by_size(frame_head, list(map(len, records)))
    return file.write(b"".join(chain.from_iterable(zip(heads, records, _fours(masked_crcs(records)), strict=True))))


def _fours(data: bytes) -> list[bytes]:
    return [data[i : i + 4] for i in range(0, len(data), 4)]


def _by_size(head: Callable[[int], bytes], sizes: list[int]) -> Iterator[bytes]:
    """A head for each size, made once for equal ones: sizes repeat."""
    heads = {size: head(size) for size in set(sizes)}
    return map(heads.__getitem__, sizes)


def serialise(columns: Mapping[str, Column]) -> list[bytes]:
    """Each row as a serialised tf.train.Example.

    Args:
        columns: Feature name -> int64, float32 or bytes (dtype object) of shape (n,) or (n, width), or `Ragged`. Other
            integer and float types are converted; names come out sorted, as deterministic protobuf serialisation has
            them.

    Raises:
        TypeError: a dtype that tf.train.Feature has no list for.
    """
    parts: list[Iterable[bytes]] = []
    sizes: NDArray[np.int64] | int = 0
    for name in sorted(columns):
        entries, taken = _feature_entries(name, columns[name])
        parts += entries
        sizes = sizes + taken
    heads = _by_size(partial(field_head, 1), np.asarray(sizes).tolist())
    return list(map(b"".join, zip(heads, *parts, strict=True)))


def _feature_entries(name: str, column: Column) -> Entries:
    """One map entry of `Features.feature` per row: key, and a Feature with a packed list.

    Returns:
        What stands behind each other in an entry, each for all rows, and the bytes of each row's entry, shape (n,).
    """
    key = field(1, name.encode())
    values, offsets = _flatten(column)
    if values.dtype == np.object_ and set(map(type, values)) <= {bytes}:
        return _bytes_entries(key, values.tolist(), offsets)
    if np.issubdtype(values.dtype, np.floating):
        payload, ends = values.astype("<f4").tobytes(), offsets * 4
        return _packed_entries(key, _FLOAT_LIST, payload, ends)
    if np.issubdtype(values.dtype, np.integer) or values.dtype == np.bool_:
        return _int_entries(key, values.astype(np.int64), offsets)
    raise TypeError(
        f"feature {name!r}: dtype {values.dtype} has no place in tf.train.Feature; use int64, float32, or bytes "
        "as objects"
    )


def _bytes_entries(key: bytes, values: list[bytes], offsets: NDArray[np.int64]) -> Entries:
    lengths = list(map(len, values))
    if len(values) == len(offsets) - 1 and np.all(np.diff(offsets) == 1):  # one a row, as it stands
        heads = list(_by_size(partial(_bytes_head, key), lengths))
        return [heads, values], _lengths(heads) + np.array(lengths, dtype=np.int64)
    fields = list(map(add, _by_size(partial(field_head, 1), lengths), values))
    ends = np.concatenate([[0], np.cumsum(_lengths(fields))])[offsets]
    return _packed_entries(key, _BYTES_LIST, b"".join(fields), ends)


def _int_entries(key: bytes, values: NDArray[np.int64], offsets: NDArray[np.int64]) -> Entries:
    if len(values) == len(offsets) - 1 and np.all(np.diff(offsets) == 1):
        distinct, places = np.unique(values, return_inverse=True)
        if len(distinct) < len(values):  # classes: an entry for each of them
            parts, sizes = _int_entries(key, distinct, np.arange(len(distinct) + 1))
            entries = list(map(b"".join, zip(*parts, strict=True)))
            return [map(entries.__getitem__, places.tolist())], sizes[places]
    buffer, widths = pack_varints(values)
    return _packed_entries(key, _INT64_LIST, buffer.tobytes(), np.concatenate([[0], np.cumsum(widths)])[offsets])


def _packed_entries(key: bytes, kind: int, payload: bytes, ends: NDArray[np.int64]) -> Entries:
    """Of rows' values one behind the other; `ends` are their places in the payload, shape (n + 1,)."""
    lengths = np.diff(ends)
    heads = list(_by_size(partial(_entry_head, key, kind), lengths.tolist()))
    slices = [payload[start:end] for start, end in pairwise(ends.tolist())]
    return [heads, slices], _lengths(heads) + lengths


def _lengths(parts: list[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(len, parts), np.int64, len(parts))


@lru_cache(SIZES)
def _bytes_head(key: bytes, size: int) -> bytes:
    """Everything of a map entry in front of its one value of `size` bytes."""
    field = field_head(1, size)
    return _entry_head(key, _BYTES_LIST, len(field) + size) + field


@lru_cache(SIZES)
def _entry_head(key: bytes, kind: int, size: int) -> bytes:
    """Everything of a map entry in front of `size` bytes of values: numbers are packed, bytes are fields already."""
    is_packed = size and kind != _BYTES_LIST  # an empty list is left out, as protobuf does
    packed = field_head(1, size) if is_packed else b""
    kind_field = field_head(kind, len(packed) + size) + packed
    value = field_head(2, len(kind_field) + size) + kind_field
    return field_head(1, len(key) + len(value) + size) + key + value


def _flatten(column: Column) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """All values one behind the other, and the offsets of the rows, shape (n + 1,)."""
    if isinstance(column, Ragged):
        return column.values, column.offsets - column.offsets[0]
    width = int(np.prod(column.shape[1:], dtype=np.int64))
    return column.reshape(-1), np.arange(len(column) + 1, dtype=np.int64) * width


def pack_varints(values: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.int64]]:
    """Varints of int64 values (negative ones take ten bytes, as protobuf has it).

    Returns:
        The bytes one behind the other, and how many each value takes, shape (n,).
    """
    bits = values.view(np.uint64)
    top = int(bits.max(initial=0))
    width = next((count for count in range(1, 10) if top < 1 << (7 * count)), 10)
    if width <= 4:
        bits = bits.astype(np.uint32)  # half the bytes to move
    table = np.empty((len(bits), width), dtype=np.uint8)
    used = np.ones((len(bits), width), dtype=bool)
    sizes = np.ones(len(bits), dtype=np.int64)
    for byte in range(width):
        table[:, byte] = (bits & bits.dtype.type(0x7F)) | bits.dtype.type(0x80)
        bits = bits >> bits.dtype.type(7)
        if byte + 1 < width:
            used[:, byte + 1] = bits != 0
            sizes += used[:, byte + 1]
    table[np.arange(len(sizes)), sizes - 1] &= 0x7F  # the last byte of a value says so
    return table[used], sizes
