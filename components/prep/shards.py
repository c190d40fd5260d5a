"""Second pass: buckets of rows to shuffled, encoded TFRecord shards and the same rows as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from shipway.artifacts import FileRef, Shard
from shipway.components.prep.hashes import GOLDEN, U64, mix
from shipway.components.prep.spill import read_frames
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.recipes.base import Encoder

CHUNK_ROWS = 4_096
CHUNK_BYTES = 1 << 18
ROW_COLUMNS = ("row_id", "text", "label", "group", "split")


@dataclass(frozen=True)
class ShardTask:
    """One process's share of a split: consecutive buckets, written as `parts` shards from number `first` on."""

    split: str
    buckets: tuple[int, ...]
    first: int
    parts: int


@dataclass(frozen=True)
class Written:
    """Files of one task, in order, below the dataset's folder; `rows` and labels as written."""

    shards: list[tuple[str, int]]  # path, rows
    row_files: list[tuple[str, int]]


def ordered_rows(scratch: Path, split: str, bucket: int) -> pl.DataFrame:
    """A bucket's rows in the order of the source, whatever process wrote them."""
    frames = read_frames(scratch, f"rows-{split}-{bucket:05d}")
    return pl.concat(frames).sort("_piece", "_row") if frames else pl.DataFrame()


def shuffled_rows(scratch: Path, split: str, bucket: int) -> pl.DataFrame:
    """A bucket's rows with their ids, in the order of a hash.

    An id is the row's hash in 16 hexadecimal digits, `-1`, `-2`, ... behind the second and further equal rows: it stays
    when rows are added, and when the same rows are ingested again.
    """
    rows = ordered_rows(scratch, split, bucket)
    if not len(rows):
        return rows
    hashes: U64 = rows.get_column("_row_hash").to_numpy()
    copies = rows.select((pl.int_range(pl.len()).over("_row_hash")).alias("copy")).to_series()
    suffix = copies.to_numpy()
    ids = [f"{row:016x}-{copy}" if copy else f"{row:016x}" for row, copy in zip(hashes.tolist(), suffix, strict=True)]
    with np.errstate(over="ignore"):
        order = np.argsort(mix(mix(hashes) + GOLDEN * suffix.astype(np.uint64)), kind="stable")
    return rows.with_columns(pl.Series("row_id", ids))[order].select(
        *ROW_COLUMNS, *[name for name in rows.columns if name not in ROW_COLUMNS and not name.startswith("_")]
    )


def write_shards(task: ShardTask, scratch: Path, out: Path, encoder: Encoder) -> Written:
    """Encodes the task's rows into `out/<split>/NNNNN.tfrecord` and `out/rows/<split>/NNNNN.parquet`."""
    frames = [frame for bucket in task.buckets if len(frame := shuffled_rows(scratch, task.split, bucket))]
    rows = pl.concat(frames)
    ids = {label: number for number, label in enumerate(encoder.labels)}
    shards, row_files = [], []
    bounds = np.linspace(0, len(rows), task.parts + 1).astype(int).tolist()
    for part, (start, end) in enumerate(pairwise(bounds)):
        number = task.first + part
        piece = rows.slice(start, end - start)
        shard = f"{task.split}/{number:05d}.tfrecord"
        table = f"rows/{task.split}/{number:05d}.parquet"
        for name in (shard, table):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
        with (out / shard).open("wb") as file:
            for records in encode_rows(piece, encoder, ids):
                write_records(file, records)
        piece.write_parquet(out / table)
        shards.append((shard, len(piece)))
        row_files.append((table, len(piece)))
    return Written(shards, row_files)


def encode_rows(rows: pl.DataFrame, encoder: Encoder, ids: dict[str, int]) -> Iterator[list[bytes]]:
    """Serialised examples, a chunk at a time: the encoder's features and `label`."""
    for chunk in chunks(rows):
        labels = chunk.get_column("label").replace_strict(ids, return_dtype=pl.Int64).to_numpy()
        yield serialise({**encoder.encode(chunk.get_column("text").to_list()), "label": labels})


def chunks(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Slices whose texts are few and short enough for an encoder's working arrays, which hold each n-gram as a word."""
    ends = np.cumsum(rows.get_column("text").str.len_bytes().to_numpy().astype(np.int64))
    start = 0
    while start < len(rows):
        full = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + CHUNK_BYTES, side="right"))
        end = min(max(full, start + 1), start + CHUNK_ROWS)
        yield rows.slice(start, end - start)
        start = end


def as_shard(ref: FileRef, rows: int) -> Shard:
    """A file's reference with its rows."""
    return Shard(path=ref.path, size_bytes=ref.size_bytes, sha256=ref.sha256, rows=rows)
