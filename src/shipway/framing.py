"""What is written without TensorFlow: frames of TFRecord files, and fields of protocol buffers.

Framing: tensorflow/core/lib/io/record_writer.h. Fields are read by `shipway.scoring.wire`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from google_crc32c import value as crc32c

MASK_DELTA = np.uint32(0xA282EAD8)
SIZES = 4_096  # of records and fields whose heads are kept


def masked_crcs(records: Iterable[bytes]) -> bytes:
    """CRC-32C of each, rotated and offset as TFRecord stores it: four bytes a record."""
    crcs = np.fromiter(map(crc32c, records), dtype=np.uint32)
    return ((crcs >> np.uint32(15) | crcs << np.uint32(17)) + MASK_DELTA).astype("<u4").tobytes()


@lru_cache(SIZES)
def frame_head(size: int) -> bytes:
    """A record's length and the checksum of that."""
    length = struct.pack("<Q", size)
    return length + masked_crcs([length])


def varint(number: int) -> bytes:
    """Base-128 varint of a number >= 0."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@lru_cache(SIZES)
def field_head(number: int, size: int) -> bytes:
    """What stands in front of a length-delimited field's `size` bytes."""
    return varint(number << 3 | 2) + varint(size)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return field_head(number, len(payload)) + payload
