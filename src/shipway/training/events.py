"""TensorBoard's event files, written without TensorFlow: records of `Event` messages (tensorflow, util/event.proto).

A file is a row of records, each framed as a TFRecord is: length, its checksum, the message, its checksum. What is kept
of an event is its step and its scalars; a sweep's trial also has its parameters, in the form of the plugin `hparams`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from shipway.framing import field, frame_head, masked_crcs, varint
from shipway.scoring.wire import FIXED32, FIXED64, VARINT, fields, messages, text

NAME = "events.out.tfevents.0.shipway"  # TensorBoard takes what has `tfevents` in its name
_VERSION = b"brain.Event:2"
_UINT64 = (1 << 64) - 1  # a negative number is written in two's complement
_SUCCESS, _FAILURE = 1, 2  # hparams' Status
_EMPTY_TENSOR = b"\x08\x01\x12\x04\x12\x02\x08\x00"  # float32, shape (0,): what a value without a number must hold


def head(at: float | None = None) -> bytes:
    """What every file begins with."""
    return _record(_event(at) + field(3, _VERSION))


def scalars(step: int, values: Mapping[str, float], at: float | None = None) -> bytes:
    """One event.

    Args:
        step: Of the training.
        values: By the name that TensorBoard shows; a slash groups them.
        at: Seconds since 1970; now.
    """
    with np.errstate(over="ignore"):  # float32 holds no more: infinite
        summary = b"".join(
            field(1, field(1, name.encode()) + _key(2, FIXED32) + np.array(value, "<f4").tobytes())
            for name, value in values.items()
        )
    return _record(_event(at, step) + field(5, summary))


def parameters(values: Mapping[str, object], name: str, at: float | None = None) -> bytes:
    """Of a trial: what it was given, for the tab `HParams`.

    Args:
        values: Numbers, booleans; anything else is shown as text.
        name: The trial's.
        at: When it began, in seconds since 1970.
    """
    entries = b"".join(
        field(1, field(1, key.encode()) + field(2, _value(value))) for key, value in sorted(values.items())
    )
    start = entries + field(4, name.encode()) + _double(5, time.time() if at is None else at)
    return _record(_event(at) + field(5, _plugin("_hparams_/session_start_info", field(3, start))))


def ended(*, has_succeeded: bool, at: float | None = None) -> bytes:
    """Of a trial: how it ended."""
    end = _key(1, VARINT) + varint(_SUCCESS if has_succeeded else _FAILURE)
    end += _double(2, time.time() if at is None else at)
    return _record(_event(at) + field(5, _plugin("_hparams_/session_end_info", field(4, end))))


def before(data: bytes, step: int) -> bytes:
    """The part of a file up to the first event of this step or a later one; a torn end is left out.

    A training that goes on from a checkpoint writes its steps once more: what follows the checkpoint is cut off first.
    """
    end = 0
    for start, stop in _records(data):
        if _step(data[start + 12 : stop - 4]) >= step:
            break
        end = stop
    return data[:end]


def steps_in(data: bytes) -> list[int]:
    """The steps of a file's events, without its head's and those of parameters."""
    return [step for start, stop in _records(data) if (step := _step(data[start + 12 : stop - 4])) >= 0]


def read_scalars(data: bytes) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each scalar that was written here, in the order of the file."""
    found: dict[str, list[tuple[int, float]]] = {}
    for start, stop in _records(data):
        event = data[start + 12 : stop - 4]
        for value in (value for summary in messages(memoryview(event), 5) for value in messages(summary, 1)):
            parts = {number: part for number, _, part in fields(value)}
            tag, number = parts.get(1), parts.get(2)
            if isinstance(tag, memoryview) and isinstance(number, memoryview):
                found.setdefault(text(tag), []).append((_step(event), struct.unpack("<f", number)[0]))
    return found


class EventFile:
    """Scalars for TensorBoard in a folder of this machine, in a file of its own.

    Args:
        folder: Made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.shipway"
        self._path.write_bytes(head())

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds scalars."""
        with self._path.open("ab") as file:
            file.write(scalars(step, metrics))


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole record begins and ends; nothing behind the first damaged one."""
    start = 0
    while start + 16 <= len(data):
        (size,) = struct.unpack_from("<Q", data, start)
        stop = start + 16 + size
        if stop > len(data) or data[stop - 4 : stop] != masked_crcs([data[start + 12 : stop - 4]]):
            return
        yield start, stop
        start = stop


def _step(event: bytes) -> int:
    """-1 where it has none: the head, a trial's parameters."""
    found = (value for number, _, value in fields(memoryview(event)) if number == 2 and isinstance(value, int))
    return next(found, -1)


def _event(at: float | None, step: int | None = None) -> bytes:
    told = _double(1, time.time() if at is None else at)
    return told if step is None else told + _key(2, VARINT) + varint(step & _UINT64)


def _plugin(tag: str, content: bytes) -> bytes:
    """A summary of one value that only a plugin reads."""
    metadata = field(1, field(1, b"hparams") + field(2, content))
    return field(1, field(1, tag.encode()) + field(8, _EMPTY_TENSOR) + field(9, metadata))


def _value(value: object) -> bytes:
    """google.protobuf.Value."""
    if isinstance(value, bool):
        return _key(4, VARINT) + varint(int(value))
    if isinstance(value, int | float):
        return _double(2, float(value))
    return field(3, str(value).encode())


def _record(message: bytes) -> bytes:
    return frame_head(len(message)) + message + masked_crcs([message])


def _key(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def _double(number: int, value: float) -> bytes:
    return _key(number, FIXED64) + struct.pack("<d", value)
