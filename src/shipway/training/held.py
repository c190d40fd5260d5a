"""Unpacked rows as plain arrays, in memory or in files, and batches of them. NumPy alone.

Batches are written into memory that earlier ones left: fresh pages, which the system clears one by one, took more time
than filling them.
"""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec
from shipway.errors import CorruptArtifact
from shipway.recipes.arrays import Encoded, Ragged, concatenate
from shipway.training.order import IntArray, Order

ALIGNMENT = 64  # bytes; TensorFlow takes an array as it lies only from there on
DISK_BYTES = 8 << 30  # of unpacked shards; older ones are unpacked again
_INT32 = np.iinfo(np.int32)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Piece = tuple[Encoded, IntArray]  # columns, and which of their rows


class Buffers:
    """Memory for arrays, used again as soon as nobody holds the array that it was given for."""

    def __init__(self) -> None:
        self._owners: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def __call__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array with whatever was in it before."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        with self._lock:
            # Every view of memory, TensorFlow's too, refers to the array that owns it: this list does, and the call.
            idle = [i for i in range(len(self._owners)) if sys.getrefcount(self._owners[i]) == 2]
            large = [i for i in idle if len(self._owners[i]) >= size + ALIGNMENT]
            if not large:
                for i in reversed(idle):  # too small for what comes now
                    del self._owners[i]
                self._owners.append(np.empty(size + size // 4 + ALIGNMENT, dtype=np.uint8))
            owner = self._owners[large[0] if large else -1]
            start = -owner.ctypes.data % ALIGNMENT
            return owner[start : start + size].view(dtype).reshape(shape)


class Padding:
    """Rows to the dense arrays of a batch, in the order of the specs.

    Args:
        specs: Of the tensors.
        padding: By name, what stands behind shorter rows.
    """

    def __init__(self, specs: Mapping[str, FeatureSpec], padding: Mapping[str, Any]) -> None:
        self._specs, self._padding, self._buffers = dict(specs), dict(padding), Buffers()

    def __call__(self, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        return [self._dense(name, pieces) for name in self._specs]

    def _dense(self, name: str, pieces: Sequence[Piece]) -> NDArray[Any]:
        spec = self._specs[name]
        dtype = np.dtype(object if spec.dtype == "bytes" else spec.dtype)
        if not isinstance(pieces[0][0][name], Ragged):
            return np.concatenate([np.asarray(columns[name])[rows] for columns, rows in pieces]).astype(
                dtype, copy=False
            )
        inner = [int(size or 0) for size in spec.shape[1:]]
        spans = [_spans(columns[name], rows) for columns, rows in pieces]
        longest = max(max(map(int.__sub__, ends, begins), default=0) for _, begins, ends in spans)
        shape = (sum(len(begins) for _, begins, _ in spans), max(longest, int(np.prod(inner, dtype=int))))
        dense = np.empty(shape, dtype) if dtype.hasobject else self._buffers(shape, dtype)
        row, padding = iter(dense), self._padding[name]
        for values, begins, ends in spans:
            for begin, end in zip(begins, ends, strict=True):
                target = next(row)
                target[: end - begin] = values[begin:end]
                target[end - begin :] = padding
        return dense.reshape(len(dense), -1, *inner) if inner else dense


def _spans(column: Any, rows: IntArray) -> tuple[NDArray[Any], list[int], list[int]]:
    """A ragged column's numbers, and where those of each row begin and end."""
    assert isinstance(column, Ragged)
    each = int(np.prod(column.values.shape[1:], dtype=int))
    begins, ends = column.offsets[rows] * each, column.offsets[rows + 1] * each
    return column.values.reshape(-1), begins.tolist(), ends.tolist()


def narrow(columns: Encoded) -> Encoded:
    """The same numbers, whole ones in half the room where all of them fit."""
    return {
        name: Ragged(_narrow(value.values), value.offsets) if isinstance(value, Ragged) else _narrow(value)
        for name, value in columns.items()
    }


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype != np.int64 or not (_INT32.min <= values.min(initial=0) <= values.max(initial=0) <= _INT32.max):
        return values
    return values.astype(np.int32)


class UnpackedShards:
    """Shards' rows, unpacked when they are first asked for, and kept in files as far as there is room.

    The files have no name: nobody else can change one, and the system takes it away with the process, however that
    ends. `DISK_BYTES` and half of what they and the free disk are together bound them, looked at before each shard:
    replicas on one machine, and what else fills its disk, leave room for each other. Of the shards beyond, those that
    were asked for longest ago are unpacked again. The shard to come is unpacked meanwhile.

    Args:
        read: Blocks of a shard's unpacked rows.
        rows: Of each shard.
        folder: For the files.
    """

    def __init__(self, read: Callable[[int], Iterable[Encoded]], rows: Sequence[int], folder: Path) -> None:
        self._read, self._rows, self._folder = read, list(rows), folder
        self._shards: OrderedDict[int, Future[tuple[Encoded, int]]] = OrderedDict()  # rows, bytes on the disk
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="unpack")

    def __call__(self, shard: int, coming: int) -> Encoded:
        """All rows of a shard."""
        with self._lock:
            for number in (shard, coming):
                if number not in self._shards:
                    self._shards[number] = self._worker.submit(self._unpacked, number)
                self._shards.move_to_end(number)
            self._shards.move_to_end(shard)
            wanted = self._shards[shard]
        columns, _ = wanted.result()
        return columns

    def _unpacked(self, shard: int) -> tuple[Encoded, int]:
        self._make_room()
        try:
            columns = self._on_disk(shard, np.dtype(np.int32)) or self._on_disk(shard, np.dtype(np.int64))
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            columns = None
        if columns is None:  # a full disk, or what has no fixed size
            columns = concatenate(map(narrow, self._read(shard)))
            return self._checked(shard, columns), DISK_BYTES
        return self._checked(shard, columns), sum(part.nbytes for value in columns.values() for part in _parts(value))

    def _checked(self, shard: int, columns: Encoded) -> Encoded:
        records = len(next(iter(columns.values())))
        if records != self._rows[shard]:
            raise CorruptArtifact(
                f"a shard holds {records} records, the manifest says {self._rows[shard]}; prepare the dataset again"
            )
        return columns

    def _make_room(self) -> None:
        """Drops the shards that were asked for longest ago; the one in use and the one to come stay."""
        with self._lock:
            done = {number: made.result()[1] for number, made in self._shards.items() if _is_made(made)}
            used = sum(done.values())
            room = min(DISK_BYTES, (used + shutil.disk_usage(self._folder).free) // 2)
            for number in list(done)[: max(len(self._shards) - 2, 0)]:
                if used + max(done.values()) <= room:
                    return
                used -= done[number]
                del self._shards[number]

    def _on_disk(self, shard: int, whole: np.dtype[Any]) -> Encoded | None:
        """The rows as mapped files, whole numbers of that type; None where one does not fit."""
        files: dict[str, list[_Growing]] = {}
        for block in map(narrow, self._read(shard)):
            for name, value in block.items():
                arrays = _parts(value)
                if any(array.dtype.hasobject or (array.dtype == np.int64 != whole) for array in arrays[:1]):
                    return None
                kept = files.setdefault(name, [_Growing(self._folder) for _ in arrays])
                kept[0].append(arrays[0].astype(whole, copy=False) if arrays[0].dtype.kind == "i" else arrays[0])
                for file, offsets in zip(kept[1:], arrays[1:], strict=True):
                    file.append(np.diff(offsets))
        return {name: _mapped(kept) for name, kept in files.items()}


class _Growing:
    """An array in a file that grows by blocks."""

    def __init__(self, folder: Path) -> None:
        self._file, self._rows = tempfile.TemporaryFile(dir=folder), 0  # noqa: SIM115 - it lives as long as its mapping

    def append(self, block: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(block).data)
        self._rows, self._like = self._rows + len(block), block[:0]

    def mapped(self) -> NDArray[Any]:
        """All of it, read as it is looked at."""
        self._file.flush()
        shape = (self._rows, *self._like.shape[1:])
        if not np.prod(shape):
            return np.empty(shape, self._like.dtype)
        return np.asarray(np.memmap(self._file, self._like.dtype, "r", shape=shape))


def _mapped(kept: list[_Growing]) -> NDArray[Any] | Ragged:
    values = kept[0].mapped()
    return Ragged(values, np.concatenate([[0], np.cumsum(kept[1].mapped())])) if len(kept) > 1 else values


def _parts(value: NDArray[Any] | Ragged) -> tuple[NDArray[Any], ...]:
    return (value.values, value.offsets) if isinstance(value, Ragged) else (value,)


def _is_made(made: Future[Any]) -> bool:
    return made.done() and made.exception() is None


class StreamOrder:
    """Where the rows of a step's batch lie: every epoch takes the shards in another order, each from its first row on.

    Args:
        rows: Of each shard.
        batch: Rows of a step.
        seed: Of the orders.
    """

    def __init__(self, rows: Sequence[int], batch: int, seed: int) -> None:
        self._rows, self._batch, self._order = list(rows), batch, Order(len(rows), seed)

    def shards(self, step: int) -> Iterator[tuple[list[int], int]]:
        """Each epoch's shards from a step on, and how many rows of the first one lie before it; without end."""
        epoch, left = divmod(step * self._batch, sum(self._rows))
        for number in count(epoch):
            order = self._order(number).tolist()
            while left and self._rows[order[0]] <= left:
                left -= self._rows[order.pop(0)]
            yield order, left
            left = 0

    def pieces(self, step: int, rows_of: Callable[[int, int], Encoded]) -> Iterator[Piece]:
        """The rows of a step's batch.

        Args:
            step: Which.
            rows_of: A shard's rows, told which shard comes behind it.
        """
        wanted = self._batch
        epochs = self.shards(step)
        (order, begin), (following, _) = next(epochs), next(epochs)
        while True:
            for shard, coming in pairwise([*order, following[0]]):
                end = min(self._rows[shard], begin + wanted)
                yield rows_of(shard, coming), np.arange(begin, end)
                wanted, begin = wanted - (end - begin), 0
                if not wanted:
                    return
            order, (following, _) = following, next(epochs)
