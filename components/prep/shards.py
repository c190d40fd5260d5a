"""Second pass: buckets of rows to shuffled, encoded TFRecord shards and the same rows as Parquet, into the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from shipway.artifacts import FileRef, Shard
from shipway.components.prep.hashes import GOLDEN, U64, mix
from shipway.components.prep.rows import row_prefix
from shipway.components.prep.spill import append_frame, iter_frames, remove
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.recipes.base import Encoder, load_recipe

CHUNK_ROWS = 4_096
CHUNK_BYTES = 1 << 18
ROW_COLUMNS = ("row_id", "text", "label", "group", "split")


@dataclass(frozen=True)
class Target:
    """Where shards come from and go to; the same for every process.

    Attributes:
        scratch: Buckets, and shards on their way.
        encoder: encoder.json on scratch disk.
        store_uri, prefix: The dataset's folder in the store.
        counts_unseen: Rows of a label that the encoder does not know stay among the rows, without a TFRecord.
    """

    scratch: Path
    buckets: int
    recipe: str
    encoder: Path
    store_uri: str
    prefix: str
    counts_unseen: bool = False


@dataclass(frozen=True)
class ShardTask:
    """One process's share of a split: consecutive buckets, written as `parts` shards from number `first` on."""

    split: str
    buckets: tuple[int, ...]
    first: int
    parts: int


@dataclass
class Written:
    """What a split has in the store, by number."""

    split: str
    shards: list[Shard] = field(default_factory=list)
    row_files: list[Shard] = field(default_factory=list)

    def add(self, other: Written) -> None:
        """Takes in another task's files."""
        self.shards = sorted([*self.shards, *other.shards], key=lambda shard: shard.path)
        self.row_files = sorted([*self.row_files, *other.row_files], key=lambda shard: shard.path)


def ordered_rows(scratch: Path, split: str, bucket: int, buckets: int) -> pl.DataFrame:
    """A bucket's rows in the order of the source, whatever process wrote them."""
    frames = list(iter_frames(scratch, row_prefix(split, bucket, buckets)))
    return pl.concat(frames).sort("_piece", "_row") if frames else pl.DataFrame()


def shuffled_rows(scratch: Path, split: str, bucket: int, buckets: int) -> pl.DataFrame:
    """A bucket's rows with their ids, in the order of a hash.

    An id is the row's hash in 16 hexadecimal digits, with `-1`, `-2`, ... behind the second and further equal rows: it
    stays when rows are added, and when the same rows are ingested again.
    """
    rows = ordered_rows(scratch, split, bucket, buckets)
    if not len(rows):
        return rows
    hashes: U64 = rows.get_column("_row_hash").to_numpy()
    copies = rows.select(pl.int_range(pl.len()).over("_row_hash")).to_series().to_numpy()
    ids = [f"{row:016x}-{copy}" if copy else f"{row:016x}" for row, copy in zip(hashes.tolist(), copies, strict=True)]
    with np.errstate(over="ignore"):
        order = np.argsort(mix(mix(hashes) + GOLDEN * copies.astype(np.uint64)), kind="stable")
    return rows.with_columns(pl.Series("row_id", ids))[order]


def write_shards(task: ShardTask, target: Target, owner: str) -> Written:
    """Encodes the task's rows into `<split>/NNNNN.tfrecord` and `rows/<split>/NNNNN.parquet` of the store.

    Rows whose label the encoder does not know have no TFRecord; unless they count, they are left on scratch disk as
    `unseen.<owner>` instead of among the rows.
    """
    encoder = _encoder(target.encoder, target.recipe)
    ids = {label: number for number, label in enumerate(encoder.labels)}
    frames = [shuffled_rows(target.scratch, task.split, bucket, target.buckets) for bucket in task.buckets]
    rows = pl.concat([frame for frame in frames if len(frame)])
    del frames
    unseen = rows.filter(~pl.col("label").is_in(list(ids)))
    if len(unseen) and not target.counts_unseen:
        append_frame(target.scratch / f"unseen.{owner}", unseen.select("_piece", "_row", "text", "label"))
        rows = rows.filter(pl.col("label").is_in(list(ids)))
    others = [name for name in rows.columns if name not in ROW_COLUMNS and not name.startswith("_")]
    rows = rows.select(*ROW_COLUMNS, *others)
    written = Written(task.split)
    bounds = np.linspace(0, len(rows), task.parts + 1).astype(int).tolist()
    for part, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            _write_part(rows.slice(start, end - start), task.first + part, written, target, encoder, ids)
    for bucket in task.buckets:
        remove(target.scratch, row_prefix(task.split, bucket, target.buckets))
    return written


def _write_part(
    rows: pl.DataFrame, number: int, written: Written, target: Target, encoder: Encoder, ids: dict[str, int]
) -> None:
    from shipway.storage import Store

    name = f"{written.split}/{number:05d}"
    shard, table = (target.scratch / f"{written.split}-{number:05d}.{kind}" for kind in ("tfrecord", "parquet"))
    known = rows.filter(pl.col("label").is_in(list(ids)))
    rows.write_parquet(table)
    files = [(table, f"rows/{name}.parquet", written.row_files, len(rows))]
    if len(known):
        with shard.open("wb") as file:
            for records in encode_rows(known, encoder, ids):
                write_records(file, records)
        files.append((shard, f"{name}.tfrecord", written.shards, len(known)))
    refs = Store.open(target.store_uri).upload_many([(path, f"{target.prefix}/{key}") for path, key, _, _ in files])
    for (path, key, shards, count), ref in zip(files, refs, strict=True):
        path.unlink()
        shards.append(as_shard(ref, key, count))


def as_shard(ref: FileRef, path: str, rows: int) -> Shard:
    """An uploaded file's reference by its path below the artifact, with its rows."""
    return Shard(path=path, size_bytes=ref.size_bytes, sha256=ref.sha256, rows=rows)


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


@lru_cache(maxsize=1)
def _encoder(path: Path, recipe: str) -> Encoder:
    return load_recipe(recipe).load_encoder(json.loads(path.read_text(encoding="utf-8")))
