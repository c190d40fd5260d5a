"""Rows and hashes on scratch disk, by hash bucket, so that no more than a bucket is ever in memory.

Rows go by bucket of their row hash: a bucket is a uniform sample of the data, so buckets read in order and shuffled
inside are a global shuffle. Content and group hashes go by bucket of their own value: equal ones meet in one bucket.
Each process appends to files of its own; what a bucket holds is put back in the order of the source when it is read,
so that the number of processes changes nothing.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.components.prep.hashes import U64

HASH_RECORD = np.dtype([("content", "<u8"), ("label", "<u8"), ("group", "<u8"), ("split", "u1")])
GROUP_RECORD = np.dtype([("group", "<u8"), ("split", "u1")])
Records = NDArray[np.void]


def bucket_of(hashes: U64, buckets: int) -> NDArray[np.uint16]:
    """The top bits of each hash; `buckets` is a power of two up to 65,536."""
    bits = buckets.bit_length() - 1
    if bits == 0:
        return np.zeros(len(hashes), dtype=np.uint16)
    return (hashes >> np.uint64(64 - bits)).astype(np.uint16)


def append_frame(path: Path, frame: pl.DataFrame) -> int:
    """Adds a frame behind what the file holds; gives back the bytes written."""
    buffer = io.BytesIO()
    # Views of strings would drag the whole block's text along; the older layout holds these rows' bytes only.
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    data = buffer.getbuffer()
    with path.open("ab") as file:
        file.write(struct.pack("<Q", len(data)))
        file.write(data)
    return len(data)


def iter_frames(folder: Path, prefix: str) -> Iterator[pl.DataFrame]:
    """The frames that any process appended to `<prefix>.*`, one after the other."""
    for path in sorted(folder.glob(f"{prefix}.*")):
        with path.open("rb") as file:
            while head := file.read(8):
                yield pl.read_ipc_stream(io.BytesIO(file.read(struct.unpack("<Q", head)[0])))


def remove(folder: Path, prefix: str) -> None:
    """Frees the scratch disk of what was appended to `<prefix>.*`."""
    for path in folder.glob(f"{prefix}.*"):
        path.unlink()


def append_records(folder: Path, prefix: str, owner: str, records: Records, key: str, buckets: int) -> None:
    """Adds fixed-size records to the bucket files of the hash in their field `key`."""
    bucket = bucket_of(records[key], buckets)
    order = np.argsort(bucket, kind="stable")
    records = records[order]
    bounds = np.searchsorted(bucket[order], np.arange(buckets + 1))
    for number, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            with (folder / f"{prefix}-{number:05d}.{owner}").open("ab") as file:
                records[start:end].tofile(file)


def read_records(folder: Path, prefix: str, number: int, dtype: np.dtype[np.void]) -> Records:
    """A bucket's records."""
    parts = [np.fromfile(path, dtype=dtype) for path in sorted(folder.glob(f"{prefix}-{number:05d}.*"))]
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
