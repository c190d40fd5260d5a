"""Second pass: buckets of rows to shuffled, encoded TFRecord shards and the same rows as Parquet, into the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shipway.artifacts import FileRef, Shard
from shipway.components.prep.columns import OURS
from shipway.components.prep.hashes import GOLDEN, U64, copies, mix
from shipway.components.prep.rows import row_prefix
from shipway.components.prep.schema import Schema, schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.spill import append_frame, iter_frames, remove
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.components.prep.vectors import Spill
from shipway.recipes.arrays import Encoded
from shipway.recipes.base import Encoder, HasVectors, Packs, load_recipe
from shipway.tasks.base import TellsUnanswerable

CHUNK_ROWS = 4_096
CHUNK_SIZE = 1 << 18  # sum of the input's sizes
INTERNAL = ("_piece", "_row", "_row_hash")  # of rows on scratch disk
ZSTD_LEVEL = 1  # of row files: 4 % more bytes than by the usual 3, in two thirds of the time


@dataclass(frozen=True)
class Target:
    """Where shards come from and go to; the same for every process.

    Attributes:
        scratch: Buckets, and shards on their way.
        encoder: encoder.json on scratch disk.
        store_uri, prefix: The dataset's folder in the store.
        counts_unseen: Rows of a class that the encoder does not know stay among the rows, without a TFRecord.
        vectors_share: Of the rows whose vectors are kept on scratch disk, where the encoder has some.
    """

    scratch: Path
    buckets: int
    spec: DatasetSpec
    encoder: Path
    store_uri: str
    prefix: str
    counts_unseen: bool = False
    vectors_share: float = 1.0


@dataclass(frozen=True)
class ShardTask:
    """One process's share of a split: consecutive buckets, written as `parts` shards from number `first` on."""

    split: str
    buckets: tuple[int, ...]
    first: int
    parts: int


@dataclass
class Unseen:
    """Rows that were left out.

    Attributes:
        classes: Class -> rows, all that they name.
        unknown: The same of those that the encoder does not know.
    """

    rows: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass
class Written:
    """What a split has in the store, by number, and what it has not."""

    split: str
    shards: list[Shard] = field(default_factory=list)
    row_files: list[Shard] = field(default_factory=list)
    unseen: Unseen = field(default_factory=Unseen)
    unanswerable: Counter[str] = field(default_factory=Counter)  # why -> rows

    def add(self, other: Written) -> None:
        """Takes in another task's files."""
        self.shards = sorted([*self.shards, *other.shards], key=lambda shard: shard.path)
        self.row_files = sorted([*self.row_files, *other.row_files], key=lambda shard: shard.path)
        self.unseen.rows += other.unseen.rows
        self.unseen.classes += other.unseen.classes
        self.unseen.unknown += other.unseen.unknown
        self.unanswerable += other.unanswerable


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
    before = copies(hashes)
    digits = hashes.astype(">u8").tobytes().hex()
    ids = [digits[i : i + 16] for i in range(0, len(digits), 16)]
    for place in np.flatnonzero(before).tolist():
        ids[place] += f"-{before[place]}"
    with np.errstate(over="ignore"):
        order = np.argsort(mix(mix(hashes) + GOLDEN * before.astype(np.uint64)), kind="stable")
    return rows.with_columns(pl.Series("row_id", ids))[order]


def write_shards(task: ShardTask, target: Target, owner: str) -> Written:
    """Encodes the task's rows into `<split>/NNNNN.tfrecord` and `rows/<split>/NNNNN.parquet` of the store.

    Rows of a class that the encoder does not know have no TFRecord; unless they count, they are left on scratch disk as
    `unseen.<owner>` instead of among the rows.
    """
    schema, encoder = schema_of(target.spec), _encoder(target.encoder, target.spec.recipe)
    frames = [shuffled_rows(target.scratch, task.split, bucket, target.buckets) for bucket in task.buckets]
    rows = pl.concat([frame for frame in frames if len(frame)])
    del frames
    written = Written(task.split)
    is_unseen = pl.col("label").is_in(unknown_labels(rows, encoder, schema))
    unseen = rows.filter(is_unseen)
    if len(unseen) and not target.counts_unseen:
        append_frame(target.scratch / f"unseen.{owner}", unseen.select("_piece", "_row", *schema.names, "label"))
        classes, known = schema.class_counts(unseen.get_column("label")), set(encoder.labels)
        unknown = Counter({name: count for name, count in classes.items() if name not in known})
        written.unseen = Unseen(len(unseen), classes, unknown)
        rows = rows.filter(~is_unseen)
    ours = ("row_id", *schema.names, *(name for name in OURS if name != "row_id"))
    others = [name for name in rows.columns if name not in ours and not name.startswith("_")]
    rows = rows.select(*ours, *others, *INTERNAL)
    bounds = np.linspace(0, len(rows), task.parts + 1).astype(int).tolist()
    for part, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            _write_part(rows.slice(start, end - start), is_unseen, task.first + part, written, target, owner)
    for bucket in task.buckets:
        remove(target.scratch, row_prefix(task.split, bucket, target.buckets))
    return written


def unknown_labels(rows: pl.DataFrame, encoder: Encoder, schema: Schema) -> list[str]:
    """The rows' labels that name a class which the encoder does not know."""
    if not schema.has_classes:
        return []
    named = schema.with_classes(rows.select(pl.col("label").unique(maintain_order=True)))
    unknown = named.filter(~pl.col("class").is_in(encoder.labels))
    return unknown.get_column("label").unique().to_list()


def _write_part(
    rows: pl.DataFrame, is_unseen: pl.Expr, number: int, written: Written, target: Target, owner: str
) -> None:
    from shipway.storage import Store

    name = f"{written.split}/{number:05d}"
    shard, table = (target.scratch / f"{written.split}-{number:05d}.{kind}" for kind in ("tfrecord", "parquet"))
    known = rows.filter(~is_unseen)
    rows.drop(INTERNAL).write_parquet(table, compression_level=ZSTD_LEVEL)
    files = [(table, f"rows/{name}.parquet", written.row_files, len(rows))]
    if len(known):
        encoder, schema = _encoder(target.encoder, target.spec.recipe), schema_of(target.spec)
        with shard.open("wb") as file:
            spill = Spill(target.scratch, owner, written.split, target.vectors_share)
            for chunk, encoded in encoded_chunks(known, encoder, schema):
                write_records(file, serialise(encoded))
                vectors = encoder.vectors(encoded) if isinstance(encoder, HasVectors) else None
                if vectors is not None:
                    spill.add(chunk, vectors, schema, target.spec.recipe)
        if isinstance(schema.labels, TellsUnanswerable):
            for chunk, values in chunks(known, schema):
                labels = chunk.get_column("label").to_list()
                written.unanswerable.update(schema.labels.unanswerable(encoder, labels, values))
        files.append((shard, f"{name}.tfrecord", written.shards, len(known)))
    refs = Store.open(target.store_uri).upload_many([(path, f"{target.prefix}/{key}") for path, key, _, _ in files])
    for (path, key, shards, count), ref in zip(files, refs, strict=True):
        path.unlink()
        shards.append(as_shard(ref, key, count))


def as_shard(ref: FileRef, path: str, rows: int) -> Shard:
    """An uploaded file's reference by its path below the artifact, with its rows."""
    return Shard(path=path, size_bytes=ref.size_bytes, sha256=ref.sha256, rows=rows)


def encode_rows(rows: pl.DataFrame, encoder: Encoder, schema: Schema) -> Iterator[list[bytes]]:
    """Serialised examples, a chunk at a time."""
    for _, encoded in encoded_chunks(rows, encoder, schema):
        yield serialise(encoded)


def encoded_chunks(rows: pl.DataFrame, encoder: Encoder, schema: Schema) -> Iterator[tuple[pl.DataFrame, Encoded]]:
    """Slices and what records hold of them: the encoder's features, packed where it can, and the task's targets."""
    for chunk, values in chunks(rows, schema):
        encoded = encoder.pack(values) if isinstance(encoder, Packs) else encoder.encode(values)
        targets = schema.labels.encode(encoder, chunk.get_column("label").to_list(), values, encoded)
        yield chunk, {**encoded, **targets}


def chunks(rows: pl.DataFrame, schema: Schema) -> Iterator[tuple[pl.DataFrame, Sequence[Any]]]:
    """Slices and their values, few and small enough for an encoder's working arrays: a text's hold a word an n-gram."""
    values = schema.kind.values(rows)
    ends = np.cumsum(schema.kind.sizes(values))
    start = 0
    while start < len(rows):
        full = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + CHUNK_SIZE, side="right"))
        end = min(max(full, start + 1), start + CHUNK_ROWS)
        yield rows.slice(start, end - start), values[start:end]
        start = end


@lru_cache(maxsize=1)
def _encoder(path: Path, recipe: str) -> Encoder:
    return load_recipe(recipe).load_encoder(json.loads(path.read_text(encoding="utf-8")))
