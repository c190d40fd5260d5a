"""TFRecord files of tf.train.Example, written without TensorFlow.

Framing: tensorflow/core/lib/io/record_writer.h; messages: tensorflow/core/example/{example,feature}.proto. The wire
format is assembled by columns: filling a protobuf object with the ~150 ids of a row costs more than encoding its text
did.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from shipway.recipes.arrays import Ragged

Column = NDArray[np.generic] | Ragged
Bytes = NDArray[np.uint8]

MASK_DELTA = 0xA282EAD8
_INT64_LIST, _FLOAT_LIST, _BYTES_LIST = 3, 2, 1  # field numbers of Feature.kind


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as TFRecord stores it."""
    crc = int(crc32c(data))
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def write_records(file: BinaryIO, records: Sequence[bytes]) -> int:
    """Appends framed records; gives back the bytes written."""
    heads: dict[int, bytes] = {}  # lengths repeat, and with them their checksums
    parts: list[bytes] = []
    for record in records:
        length = len(record)
        head = heads.get(length)
        if head is None:
            raw = struct.pack("<Q", length)
            head = heads[length] = raw + struct.pack("<I", masked_crc(raw))
        parts += (head, record, struct.pack("<I", masked_crc(record)))
    return file.write(b"".join(parts))


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
    heads: dict[int, bytes] = {}  # lengths repeat
    records = []
    for entries in zip(*encoded, strict=True):
        features = b"".join(entries)
        size = len(features)
        if size not in heads:
            heads[size] = varint(1 << 3 | 2) + varint(size)
        records.append(heads[size] + features)
    return records


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
        buffer, sizes = pack_varints(values.astype(np.int64))
        payload = buffer.tobytes()
        ends = np.concatenate([[0], np.cumsum(sizes)])[offsets]
    elif values.dtype == np.object_ and all(isinstance(value, bytes) for value in values):
        kind, fields = _BYTES_LIST, [_field(1, value) for value in values.tolist()]
        payload = b"".join(fields)
        ends = np.cumsum([0, *map(len, fields)], dtype=np.int64)[offsets]
    else:
        raise TypeError(
            f"feature {name!r}: dtype {values.dtype} has no place in tf.train.Feature; use int64, float32, or bytes "
            "as objects"
        )
    key = _field(1, name.encode())
    heads: dict[int, bytes] = {}
    entries = []
    bounds = ends.tolist()
    for start, end in pairwise(bounds):
        size = end - start
        head = heads.get(size)
        if head is None:
            head = heads[size] = _entry_head(key, kind, size)
        entries.append(head + payload[start:end])
    return entries


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
