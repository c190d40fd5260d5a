"""Unpacked rows in files, and the batches made of them, without TensorFlow."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.artifacts import FeatureSpec
from shipway.errors import CorruptArtifact
from shipway.recipes.arrays import Encoded, Ragged
from shipway.training import held
from shipway.training.order import permutation

ROWS = [5, 3, 7]
SPECS = {"ids": FeatureSpec(dtype="int64", shape=[None]), "label": FeatureSpec(dtype="int64", shape=[])}


def blocks(shard: int, unit: int = 1) -> Iterator[Encoded]:
    """Row r of a shard holds r + 1 times its own number, and the shard's hundreds beside it."""
    for start in range(0, ROWS[shard], 2):
        numbers = np.arange(start, min(start + 2, ROWS[shard]))
        ids = [np.full(number + 1, (100 * shard + number) * unit) for number in numbers]
        yield {"ids": Ragged.of(ids, np.int64), "label": 100 * shard + numbers}


class Read:
    """Counts how often a shard is read."""

    def __init__(self, unit: int = 1) -> None:
        self.shards: list[int] = []
        self._unit = unit

    def __call__(self, shard: int) -> Iterator[Encoded]:
        self.shards.append(shard)
        return blocks(shard, self._unit)


def labels(shards: held.UnpackedShards, batch: int, steps: range) -> list[list[int]]:
    order, padding = held.StreamOrder(ROWS, batch, 3), held.Padding(SPECS, {"ids": 0, "label": -1})
    found, kept = [], []
    for step in steps:
        ids, label = padding(list(order.pieces(step, shards)))
        assert ids.dtype == label.dtype == np.int64
        assert ids.shape == (batch, max(label % 100) + 1)
        assert [row[row > 0].tolist() for row in ids] == [[n] * (n % 100 + 1) if n else [] for n in label.tolist()]
        found.append(label.tolist())
        kept.append((ids, ids.tolist()))
    assert all(ids.tolist() == then for ids, then in kept), "no batch is written over while somebody holds it"
    return found


def endless() -> Iterator[int]:
    for epoch in range(100):
        for shard in permutation(len(ROWS), 3, epoch).tolist():
            yield from (100 * shard + row for row in range(ROWS[shard]))


@pytest.mark.parametrize("batch", [1, 4, 15, 40])
def test_batches_are_consecutive_rows_of_shards_in_each_epochs_order_from_any_step(tmp_path: Path, batch: int) -> None:
    expected = np.reshape(list(islice(endless(), 12 * batch)), (12, batch)).tolist()
    read = Read()
    shards = held.UnpackedShards(read, ROWS, tmp_path)
    assert labels(shards, batch, range(12)) == expected
    assert labels(shards, batch, range(7, 12)) == expected[7:]
    assert sorted(read.shards) == sorted(set(read.shards))
    assert not list(tmp_path.iterdir()), "the files have no name"


def test_shards_that_have_no_room_are_unpacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "DISK_BYTES", 1)
    read = Read()
    found = labels(held.UnpackedShards(read, ROWS, tmp_path), 15, range(4))
    assert list(chain(*found)) == list(islice(endless(), 60))
    assert len(read.shards) > len(ROWS)


def test_room_is_left_on_a_disk_that_others_fill_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, usage = Read(), shutil.disk_usage(tmp_path)
    shards = held.UnpackedShards(read, ROWS, tmp_path)
    monkeypatch.setattr(held.shutil, "disk_usage", lambda folder: usage._replace(free=0))
    found = labels(shards, 15, range(4))
    assert list(chain(*found)) == list(islice(endless(), 60))
    assert len(read.shards) > len(ROWS)


def test_a_full_disk_leaves_the_rows_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(held.tempfile, "TemporaryFile", full)
    found = labels(held.UnpackedShards(Read(), ROWS, tmp_path), 15, range(4))
    assert list(chain(*found)) == list(islice(endless(), 60))


def test_numbers_of_more_than_32_bits_stay_what_they_are(tmp_path: Path) -> None:
    shards = held.UnpackedShards(Read(unit=1 << 40), ROWS, tmp_path)
    ids = shards(2, 0)["ids"]
    assert isinstance(ids, Ragged)
    assert ids.row(4).tolist() == [204 << 40] * 5
    assert held.narrow({"ids": np.array([1, -(2**31)])})["ids"].dtype == np.int32  # type: ignore[union-attr]
    assert held.narrow({"ids": np.array([2**31])})["ids"].dtype == np.int64  # type: ignore[union-attr]


def test_a_shard_of_another_number_of_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="a shard holds 5 records, the manifest says 6"):
        held.UnpackedShards(Read(), [6, 3, 7], tmp_path)(0, 1)


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    buffers = held.Buffers()
    first = buffers((3, 4), np.dtype(np.int64))
    second = buffers((3, 4), np.dtype(np.int64))
    address = first.ctypes.data
    assert address % held.ALIGNMENT == 0
    assert address != second.ctypes.data
    del first
    assert buffers((2, 6), np.dtype(np.int64)).ctypes.data == address
