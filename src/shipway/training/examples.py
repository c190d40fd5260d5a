"""Shards read without TensorFlow: TFRecord files of tf.train.Example to NumPy arrays, a batch at a time.

Framing: tensorflow/core/lib/io/record_writer.h; messages: tensorflow/core/example/{example,feature}.proto. Shards are
verified by their sha256 when they are fetched, so the records' own checksums are not computed again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest, FeatureSpec
from shipway.errors import CorruptArtifact
from shipway.inputs.base import BadRequest
from shipway.recipes import Encoder
from shipway.recipes.arrays import Encoded, Ragged, concatenate, dense
from shipway.recipes.own_fit import Arrays, Rows
from shipway.scoring.wire import Malformed, Value, fields, mapped, messages, text
from shipway.tasks.base import TARGET_PADDING
from shipway.training.order import ALONE, Share
from shipway.training.shards import packer_of, unreadable_record

BLOCK = 1024  # records that are parsed together
_HEAD = struct.Struct("<QI")  # length of a record, and the checksum of that
_KINDS = {"bytes": 1, "float32": 2, "int64": 3}  # field numbers of Feature.kind


class Examples:
    """Reads records of one form.

    Args:
        features: The encoded features to read, or what records hold in their place.
        targets: What is learned from them.
        unpack: Makes the features of that.
    """

    def __init__(
        self,
        features: Mapping[str, FeatureSpec],
        targets: Mapping[str, FeatureSpec],
        unpack: Callable[[Encoded], Encoded] = dict,
    ) -> None:
        self.features, self.targets, self._unpack = dict(features), dict(targets), unpack
        self._tensors = self.features | self.targets

    @classmethod
    def of(cls, manifest: DatasetManifest, encoder: Encoder, targets: Mapping[str, FeatureSpec]) -> Examples:
        """For a dataset's records.

        Raises:
            InvalidData: they are packed, and the installed recipe's encoder does not unpack.
        """
        packer = packer_of(manifest, encoder)
        if packer is None:
            return cls(manifest.features, targets)

        def unpacked(records: Encoded) -> Encoded:
            try:
                return packer.unpack(records, list(manifest.features))
            except BadRequest as error:
                raise unreadable_record(manifest, str(error)) from error

        return cls(manifest.packed, targets, unpacked)

    def batches(self, paths: Iterable[Path], size: int, share: Share = ALONE) -> Iterator[Rows]:
        """The records of files one behind the other, `size` a batch; the last holds what is left.

        Args:
            paths: Of the files.
            size: Records of a batch.
            share: Worker r of n takes records r, r + n, r + 2n, ...; those of others are not parsed.
        """
        waiting: list[memoryview] = []
        number = 0
        for path in paths:
            for record in records(path):
                if number % share.size == share.rank:
                    waiting.append(record)
                number += 1
                if len(waiting) == size:
                    yield self._rows(waiting, path)
                    waiting = []
        if waiting:
            yield self._rows(waiting, path)

    def everything(self, paths: Sequence[Path], share: Share = ALONE) -> Rows:
        """All records of files, or a worker's share of them."""
        features, targets = zip(*self.batches(paths, BLOCK, share), strict=True)
        return concatenate(features), concatenate(targets)

    def padded(self, rows: Rows) -> tuple[Arrays, Arrays]:
        """Features as a model takes them, and targets padded as the task's head expects."""
        features, targets = rows
        padded = {
            name: value.to_padded(TARGET_PADDING[self.targets[name].dtype]) if isinstance(value, Ragged) else value
            for name, value in targets.items()
        }
        return dense(features), padded

    def _sides(self, tensors: Encoded) -> Rows:
        return self._unpack({name: tensors[name] for name in self.features}), {n: tensors[n] for n in self.targets}

    def _rows(self, serialised: Sequence[memoryview], path: Path) -> Rows:
        try:
            values: dict[str, list[list[Value]]] = {name: [] for name in self._tensors}
            for record in serialised:
                self._take(record, values)
            return self._sides({name: _column(spec, values[name]) for name, spec in self._tensors.items()})
        except (Malformed, ValueError) as error:
            raise CorruptArtifact(f"{path.name}: damaged record ({error}); prepare the dataset again") from error

    def _take(self, record: memoryview, values: dict[str, list[list[Value]]]) -> None:
        """Appends what each of an example's wanted features holds, an empty list where it is left out."""
        by_name: dict[str, list[Value]] = {}
        for features in messages(record, 1):
            for entry in messages(features, 1):
                name, value = "", memoryview(b"")
                for number, _, part in fields(entry):
                    if number == 1:
                        name = text(part)
                    elif number == 2 and not isinstance(part, int):
                        value = part
                if name in self._tensors:
                    by_name[name] = _listed(value, name, _KINDS[self._tensors[name].dtype])
        for name, column in values.items():
            column.append(by_name.get(name, []))


def records(path: Path) -> Iterator[memoryview]:
    """A file's records, read as they are looked at.

    Raises:
        CorruptArtifact: the file ends within one.
    """
    if not path.stat().st_size:
        return
    data, at = mapped(path), 0
    while at < len(data):
        start = at + _HEAD.size
        length = _HEAD.unpack_from(data, at)[0] if start <= len(data) else len(data)
        at = start + length + 4
        if at > len(data):
            raise CorruptArtifact(f"{path.name}: it ends within a record; prepare the dataset again")
        yield data[start : start + length]


def _listed(feature: memoryview, name: str, kind: int) -> list[Value]:
    """The entries of the list that a Feature holds: one packed run of numbers, or each of its byte strings."""
    for number, _, value in fields(feature):
        if number != kind or isinstance(value, int):
            raise Malformed(f"{name} holds a list of kind {number}, expected {kind}")
        return [part for _, _, part in fields(value)]
    return []


def _column(spec: FeatureSpec, rows: Sequence[list[Value]]) -> NDArray[Any] | Ragged:
    """One feature of many records."""
    if spec.dtype == "bytes":
        values = np.empty(sum(map(len, rows)), dtype=object)
        values[:] = [bytes(part) for row in rows for part in row]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
    else:
        packed = [_packed(row) for row in rows]
        data = np.frombuffer(b"".join(packed), dtype=np.uint8)
        sizes = np.array([len(part) for part in packed], dtype=np.int64)
        values, lengths = _floats(data, sizes) if spec.dtype == "float32" else _varints(data, sizes)
    inner = [int(size) for size in spec.shape if size is not None]
    width = int(np.prod(inner, dtype=np.int64))
    if spec.shape[:1] == [None]:
        offsets = np.concatenate([[0], np.cumsum(lengths // width)]).astype(np.int64)
        return Ragged(values.reshape(-1, *inner) if inner else values, offsets)
    if (lengths != width).any():
        raise Malformed(f"a feature of {int(lengths[lengths != width][0])} values, expected {width}")
    return values.reshape(len(rows), *inner)


def _packed(row: list[Value]) -> memoryview:
    if not row:
        return memoryview(b"")
    if len(row) > 1 or isinstance(row[0], int):
        raise Malformed("numbers that are not packed")
    return row[0]


def _floats(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    return data.view("<f4").astype(np.float32), sizes // 4


def _varints(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Base-128 varints one behind the other, and how many lie in each run of `sizes` bytes."""
    is_last = data < 0x80
    stops = np.flatnonzero(is_last)
    starts = np.concatenate([[0], stops[:-1] + 1]) if len(stops) else stops
    if len(data) and not is_last[-1]:
        raise Malformed("ends within a number")
    places = np.arange(len(data)) - np.repeat(starts, stops - starts + 1)
    bits = (data & np.uint8(0x7F)).astype(np.uint64) << (places * 7).astype(np.uint64)
    values = np.bitwise_or.reduceat(bits, starts) if len(starts) else np.empty(0, np.uint64)
    counted = np.concatenate([[0], np.cumsum(is_last)])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return values.view(np.int64), np.diff(counted[ends])
