"""TFRecord files of tf.train.Example, written without TensorFlow.

Framing: tensorflow/core/lib/io/record_writer.h; messages: tensorflow/core/example/{example,feature}.proto. The wire
format is assembled by columns: filling a protobuf object with the ~150 ids of a row costs more than encoding its text
did.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import BinaryIO

import numpy as np
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from shipway.recipes.arrays import Ragged

Column = NDArray[np.generic] | Ragged
Bytes = NDArray[np.uint8]

MASK_DELTA = np.uint32(0xA282EAD8)
_INT64_LIST, _FLOAT_LIST, _BYTES_LIST = 3, 2, 1  # field numbers of Feature.kind


def masked_crcs(records: Iterable[bytes]) -> bytes:
    """CRC-32C of each, rotated and offset as TFRecord stores it: four bytes a record."""
    crcs = np.fromiter(map(crc32c, records), dtype=np.uint32)
    return ((crcs >> np.uint32(15) | crcs << np.uint32(17)) + MASK_DELTA).astype("<u4").tobytes()


def write_records(file: BinaryIO, records: Sequence[bytes]) -> int:
    """Appends framed records; gives back the bytes written."""
    lengths = list(map(len, records))
    raw = [
        struct.pack("<Q", length) for length in sorted(set(lengths))
    ]  # lengths repeat, and with them their checksums
    heads = {
        length: head + crc
        for length, head, crc in zip(sorted(set(lengths)), raw, _fours(masked_crcs(raw)), strict=True)
    }
    parts = zip(map(heads.__getitem__, lengths), records, _fours(masked_crcs(records)), strict=True)
    return file.write(b"".join(chain.from_iterable(parts)))


def _fours(data: bytes) -> list[bytes]:
    return [data[i : i + 4] for i in range(0, len(data), 4)]


def serialise(columns: Mapping[str, Column]) -> list[bytes]:
    """Each row as a serialised tf.train.Example.

    Args:
        columns: Feature name -> int64, float32 or bytes (dtype object) of shape (n,) or (n, width), or `Ragged`. Other
            integer and float types are converted; names come out sorted, as deterministic protobuf serialisation has
            them.

    Raises:
        TypeError: a dtype that tf.train.Feature has no list for.
    """
    encoded = [_feature_entries(name, columns[name]) for name in sorted(columns)]
    features = list(map(b"".join, zip(*encoded, strict=True)))
    heads = {size: varint(1 << 3 | 2) + varint(size) for size in set(map(len, features))}  # lengths repeat
    return [heads[len(entries)] + entries for entries in features]


def varint(number: int) -> bytes:
    """Base-128 varint of a number >= 0."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _feature_entries(name: str, column: Column) -> list[bytes]:
    """One map entry of `Features.feature` per row: key, and a Feature with a packed list."""
    values, offsets = _flatten(column)
    if np.issubdtype(values.dtype, np.floating):
        kind, payload, ends = _FLOAT_LIST, values.astype("<f4").tobytes(), offsets * 4
    elif np.issubdtype(values.dtype, np.integer) or values.dtype == np.bool_:
        kind = _INT64_LIST
        buffer, widths = pack_varints(values.astype(np.int64))
        payload = buffer.tobytes()
        ends = np.concatenate([[0], np.cumsum(widths)])[offsets]
    elif values.dtype == np.object_ and set(map(type, values)) <= {bytes}:
        sizes = {size: varint(1 << 3 | 2) + varint(size) for size in set(map(len, values))}
        kind, fields = _BYTES_LIST, [sizes[len(value)] + value for value in values.tolist()]
        payload = b"".join(fields)
        ends = np.cumsum([0, *map(len, fields)], dtype=np.int64)[offsets]
    else:
        raise TypeError(
            f"feature {name!r}: dtype {values.dtype} has no place in tf.train.Feature; use int64, float32, or bytes "
            "as objects"
        )
    key = _field(1, name.encode())
    lengths = np.diff(ends).tolist()
    heads = {size: _entry_head(key, kind, size) for size in set(lengths)}
    bounds = pairwise(ends.tolist())
    return [heads[size] + payload[start:end] for size, (start, end) in zip(lengths, bounds, strict=True)]


def _entry_head(key: bytes, kind: int, size: int) -> bytes:
    """Everything of a map entry in front of `size` bytes of values: numbers are packed, bytes are fields already."""
    is_packed = size and kind != _BYTES_LIST  # an empty list is left out, as protobuf does
    packed = varint(1 << 3 | 2) + varint(size) if is_packed else b""
    kind_field = varint(kind << 3 | 2) + varint(len(packed) + size) + packed
    value = varint(2 << 3 | 2) + varint(len(kind_field) + size) + kind_field
    return varint(1 << 3 | 2) + varint(len(key) + len(value) + size) + key + value


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
