"""Protocol buffers' wire format, read field by field (https://protobuf.dev/programming-guides/encoding).

What a model's file says is read before any runtime parses it, in processes that may hold neither TensorFlow nor the
`onnx` package. Nothing is copied and no message is built: a file takes no more memory than its own bytes, whatever it
claims to be. What the format allows and no exporter writes (groups, longer varints) is refused, so that a runtime
cannot read more in a file than was read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
Value = int | memoryview
Field = tuple[int, int, Value]  # number, wire type, value: an int for VARINT, the raw bytes for all others


class Malformed(ValueError):
    """Not a message, or none that an exporter writes."""


def mapped(path: Path) -> memoryview:
    """A file's bytes, read as they are looked at; not empty."""
    return memoryview(np.memmap(path, dtype=np.uint8, mode="r"))  # type: ignore[arg-type]


def fields(message: memoryview) -> Iterator[Field]:
    """The message's fields in order.

    Raises:
        Malformed: the bytes end too early, or hold what no exporter writes.
    """
    at, end = 0, len(message)
    while at < end:
        key = message[at]
        at += 1
        if key >= 0x80:
            key, at = _varint(message, at - 1)
        kind = key & 7
        if not 8 <= key < 1 << 32:
            raise Malformed(f"field number {key >> 3}")
        if kind in (BYTES, VARINT):
            if at >= end:
                raise Malformed("ends within a number")
            size = message[at]
            at += 1
            if size >= 0x80:
                size, at = _varint(message, at - 1)
            if kind == VARINT:
                yield key >> 3, kind, size
                continue
        elif kind in _WIDTH:
            size = _WIDTH[kind]
        else:
            raise Malformed(f"wire type {kind}")
        if size > end - at:
            raise Malformed(f"a field of {size} bytes where {end - at} are left")
        yield key >> 3, kind, message[at : at + size]
        at += size


def messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """Every message (or string) in field `number`.

    Raises:
        Malformed: the field is there as a number: a runtime would skip it, which no exporter wants.
    """
    for tag, kind, value in fields(message):
        if tag == number:
            if kind != BYTES or isinstance(value, int):
                raise Malformed(f"field {number} is no message")
            yield value


def text(value: Value) -> str:
    """A string's value, for comparing and for messages."""
    if isinstance(value, int):
        raise Malformed("a number where a string stands")
    if len(value) > 4096:
        raise Malformed(f"a name of {len(value)} bytes")
    return bytes(value).decode("utf-8", "backslashreplace")


def texts(message: memoryview, number: int) -> list[str]:
    """Every string in field `number`."""
    return [text(value) for value in messages(message, number)]


def integers(message: memoryview, number: int) -> list[int]:
    """Every int64 in field `number`, packed or not."""
    result: list[int] = []
    for tag, kind, value in fields(message):
        if tag != number:
            continue
        if isinstance(value, int):
            result.append(_signed(value))
        elif kind == BYTES:
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                result.append(_signed(one))
        else:
            raise Malformed(f"field {number} is no integer")
    return result


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise Malformed("ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                raise Malformed("a number of more than 64 bits")
            return value, at
        shift += 7
    raise Malformed("a number of more than ten bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
