"""`prep.dataset`: two passes over hash buckets, so that memory holds a bucket and never the dataset.

Pass one reads pieces of the source, sets bad rows aside, hashes, splits, and appends the rows to bucket files on
scratch disk. Pass two takes bucket after bucket, shuffles, encodes and writes shards. Both run in several processes;
what they write does not depend on how many.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway import step_progress
from shipway.artifacts import SPLITS
from shipway.components.prep.checks import as_json
from shipway.components.prep.heads import Source
from shipway.components.prep.pool import Pool, in_order
from shipway.components.prep.rows import Layout, refine, take_piece
from shipway.components.prep.schema import Schema, schema_of
from shipway.components.prep.shards import (
    ShardTask,
    Target,
    Written,
    chunks,
    encode_rows,
    ordered_rows,
    write_shards,
)
from shipway.components.prep.sources import cut, other_columns
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.spill import iter_frames
from shipway.components.prep.statistics import Statistics
from shipway.errors import InvalidData, InvalidSpec
from shipway.recipes.arrays import Ragged
from shipway.recipes.base import Encoder, FitsInParts, Packs, load_recipe
from shipway.specs import parse

BUCKET_BYTES = 16 << 20  # of rows as they lie on scratch disk
HASH_BUCKET_BYTES = 16 << 20
FIRST_BUCKETS = 256  # at most, in pass one: more would append crumbs
HASH_BUCKETS = 4_096
MIN_BUCKETS = 8
ROWS_PER_SHARD = 64  # a split with fewer than this for each of `min_shards` gets fewer shards
SAMPLE_ROWS = 2_000
UNSEEN = "label without rows in train"


@dataclass(frozen=True)
class Origins:
    """Where each piece came from.

    Attributes:
        files: By piece: the file's name below the source.
        first_rows: By piece: rows of that file in front of it.
    """

    files: list[str]
    first_rows: list[int]

    def locate(self, piece: int, row: int) -> tuple[str, int]:
        """File, and row of it (from 1, header not counted)."""
        return self.files[piece], self.first_rows[piece] + row

    @classmethod
    def of(cls, sources: list[Source], pieces: Iterable[tuple[int, int]]) -> Origins:
        """From (source, records) of each piece, in order."""
        before = [0] * len(sources)
        files, first_rows = [], []
        for source, records in pieces:
            files.append(sources[source].shown)
            first_rows.append(before[source])
            before[source] += records
        return cls(files, first_rows)


@dataclass(frozen=True)
class Taken:
    """What pass one found; `sizes` is bytes of rows on scratch disk, int64, shape (3, layout.row_buckets)."""

    layout: Layout
    statistics: Statistics
    sizes: NDArray[np.int64]
    origins: Origins


def layout_for(sources: list[Source], scratch: Path, spec: DatasetSpec) -> Layout:
    """How many buckets, from the bytes of the source."""
    size = sum(source.size_bytes for source in sources)
    rows = _power_of_two(max(size / BUCKET_BYTES, MIN_BUCKETS), FIRST_BUCKETS)
    return Layout(
        scratch, tuple(other_columns(sources, spec)), rows, _power_of_two(size / HASH_BUCKET_BYTES, HASH_BUCKETS)
    )


def _power_of_two(number: float, most: int) -> int:
    power = 1
    while power < number and power < most:
        power *= 2
    return power


def take(sources: list[Source], spec: DatasetSpec, scratch: Path, pool: Pool) -> Taken:
    """Pass one.

    Raises:
        InvalidData: a file that cannot be read to its end, or an unknown word in the split column.
    """
    layout = layout_for(sources, scratch, spec)
    results = list(pool.run(take_piece, ((piece, spec, layout) for piece in cut(sources, scratch))))
    results.sort(key=lambda result: result.number)
    statistics = Statistics()
    sizes = np.zeros((len(SPLITS), layout.row_buckets), dtype=np.int64)
    for result in results:
        statistics.add(result.statistics)
        sizes += result.sizes
    origins = Origins.of(sources, ((result.source, result.statistics.records) for result in results))
    return Taken(layout, statistics, sizes, origins)


def refined(taken: Taken, pool: Pool) -> Taken:
    """The same rows in as many more buckets as keep each small; mostly they are small already."""
    factor = _power_of_two(taken.sizes.max(initial=0) / (2 * BUCKET_BYTES), 2**15 // taken.layout.row_buckets)
    if factor == 1:
        return taken
    layout = replace(taken.layout, row_buckets=taken.layout.row_buckets * factor)
    sizes = np.zeros((len(SPLITS), layout.row_buckets), dtype=np.int64)
    filled = [(SPLITS[side], int(bucket)) for side, bucket in zip(*np.nonzero(taken.sizes), strict=True)]
    tasks = ((split, bucket, taken.layout, factor) for split, bucket in filled)
    for split, bucket, parts in pool.run(refine, tasks):
        sizes[SPLITS.index(split), bucket * factor : (bucket + 1) * factor] = parts
    return replace(taken, layout=layout, sizes=sizes)


def write_quarantine(taken: Taken, path: Path) -> int:
    """One Parquet file: `source`, `row` (of the file, header not counted), `reason`, `raw`; how many rows it has."""
    parts = []
    for number, (file, first) in enumerate(zip(taken.origins.files, taken.origins.first_rows, strict=True)):
        for frame in iter_frames(taken.layout.scratch, f"bad-{number:06d}"):
            row = (pl.col("_row").cast(pl.Int64) + first).alias("row")
            parts.append(frame.select(pl.lit(file).alias("source"), row, "reason", "raw"))
    return _write_together(parts, path)


def write_unseen(taken: Taken, spec: DatasetSpec, path: Path) -> int:
    """The same for rows whose label has none in train."""
    files = pl.Series(taken.origins.files)
    first = pl.Series(taken.origins.first_rows)
    parts = [
        frame.select(
            pl.col("_piece").map_elements(files.__getitem__, return_dtype=pl.String).alias("source"),
            (pl.col("_row").cast(pl.Int64) + pl.col("_piece").map_elements(first.__getitem__, return_dtype=pl.Int64))
            .alias("row"),
            pl.lit(UNSEEN).alias("reason"),
            as_json(frame, (*schema_of(spec).names, "label")).alias("raw"),
        )
        for frame in iter_frames(taken.layout.scratch, "unseen")
    ]  # fmt: skip
    return _write_together(parts, path)


def _write_together(parts: list[pl.DataFrame], path: Path) -> int:
    if not parts:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pl.concat(parts).sort("source", "row")
    rows.write_parquet(path)
    return len(rows)


def without_unseen(statistics: Statistics, written: Mapping[str, Written]) -> dict[str, dict[str, int]]:
    """Counts the rows that were left out as bad ones; split -> class that train does not know -> rows of it."""
    for split, part in written.items():
        if part.unseen.rows:
            statistics.leave_out(split, part.unseen.rows, part.unseen.classes)
            statistics.bad[UNSEEN] += part.unseen.rows
    return {split: dict(sorted(part.unseen.unknown.items())) for split, part in written.items()}


def training_frames(taken: Taken, spec: DatasetSpec) -> Iterator[pl.DataFrame]:
    """The input's columns and `label` of the training split, in chunks that an encoder's arrays bear."""
    for bucket in np.flatnonzero(taken.sizes[0]).tolist():
        yield from bucket_frames(taken, spec, bucket)


def bucket_frames(taken: Taken, spec: DatasetSpec, bucket: int) -> Iterator[pl.DataFrame]:
    """The same of one of its buckets."""
    layout, schema = taken.layout, schema_of(spec)
    rows = ordered_rows(layout.scratch, "train", bucket, layout.row_buckets).select(*schema.names, "label")
    yield from (chunk for chunk, _ in chunks(rows, schema))


def count_bucket(position: int, taken: Taken, spec: DatasetSpec, owner: str) -> tuple[int, Any]:
    """What one of the training split's buckets adds to an encoder that is fitted in parts."""
    recipe = load_recipe(spec.recipe)
    assert isinstance(recipe, FitsInParts)
    params = parse(recipe.EncoderParams, spec.encoder, "dataset.encoder")
    return position, recipe.count_rows(bucket_frames(taken, spec, position), params)


def fit_encoder(taken: Taken, spec: DatasetSpec, pool: Pool) -> Encoder:
    """The recipe's encoder, fitted on the training split as a stream, or bucket by bucket in all processes."""
    recipe, schema = load_recipe(spec.recipe), schema_of(spec)
    params = parse(recipe.EncoderParams, spec.encoder, "dataset.encoder")
    if isinstance(recipe, FitsInParts):
        buckets = np.flatnonzero(taken.sizes[0]).tolist()
        without = replace(taken, statistics=Statistics(), origins=Origins([], []))
        tasks = ((bucket, without, spec) for bucket in buckets)
        encoder = recipe.merge_counts(in_order(pool.run(count_bucket, tasks), buckets))
    else:
        encoder = recipe.fit_encoder(training_frames(taken, spec), params)
    targets = schema.labels.targets(encoder)
    others = {**encoder.features, **(encoder.packed if isinstance(encoder, Packs) else {})}
    wrong = [name for name in targets if not name.startswith("label") or name in others]
    if wrong:
        raise InvalidSpec(
            "its task has a target",
            field=f"recipe {spec.recipe!r}",
            given=wrong[0],
            allowed="one that begins with label and is none of the encoder's features",
        )
    expected = sorted(taken.statistics.classes("train"))
    if schema.has_classes and sorted(encoder.labels) != expected:
        raise InvalidData(
            f"its encoder has {len(encoder.labels)} labels, the training split {len(expected)}; "
            "fit_encoder must keep every label",
            field=f"recipe {spec.recipe!r}",
        )
    return encoder


def plan_shards(taken: Taken, spec: DatasetSpec, bytes_per_row: float) -> list[ShardTask]:
    """Which buckets make which shards: of about `shard_mb`, enough of them in train for every replica."""
    tasks = []
    rows = taken.statistics.split_rows()
    for side, split in enumerate(SPLITS):
        buckets = np.flatnonzero(taken.sizes[side])
        if not len(buckets):
            continue
        wanted = int(np.ceil(rows[split] * bytes_per_row / (spec.shard_mb * 1e6)))
        if split == "train":
            wanted = max(wanted, min(spec.min_shards, rows[split] // ROWS_PER_SHARD))
        bearable = int(np.ceil(taken.sizes[side].sum() / (2 * BUCKET_BYTES)))  # a task's rows are in memory at once
        wanted = max(wanted, bearable, 1)
        groups = np.array_split(buckets, min(wanted, len(buckets)))
        bounds = np.linspace(0, wanted, len(groups) + 1).astype(int).tolist()
        for group, first, end in zip(groups, bounds[:-1], bounds[1:], strict=True):
            tasks.append(ShardTask(split, tuple(group.tolist()), first, end - first))
    return tasks


@dataclass(frozen=True)
class RowSize:
    """What a row of the training split takes, measured on some.

    Attributes:
        record_bytes: As a TFRecord.
        unpacked_bytes: In memory, where that is more than its record.
        seconds: Of one core, to become a record.
    """

    record_bytes: float
    unpacked_bytes: int
    seconds: float


def sample(taken: Taken, spec: DatasetSpec, encoder: Encoder) -> RowSize:
    """What a row takes."""
    rows, schema = next(training_frames(taken, spec)).head(SAMPLE_ROWS), schema_of(spec)
    began = time.thread_time()
    size = sum(len(record) + 16 for records in encode_rows(rows, encoder, schema) for record in records)
    seconds = time.thread_time() - began
    return RowSize(size / len(rows), _unpacked_bytes(rows, encoder, schema), seconds / len(rows))


def _unpacked_bytes(rows: pl.DataFrame, encoder: Encoder, schema: Schema) -> int:
    if not isinstance(encoder, Packs):
        return 0
    known = [spec.row_bytes for spec in encoder.features.values()]
    if None not in known:  # told by their shapes: an image is decoded by nobody here
        return sum(filter(None, known))
    features = encoder.encode(schema.kind.values(rows)).values()
    return sum((value.values if isinstance(value, Ragged) else value).nbytes for value in features) // len(rows)


def write_encoder(encoder: Encoder, path: Path) -> None:
    """encoder.json, stable over equal encoders."""
    path.write_text(json.dumps(encoder.to_document(), sort_keys=True, ensure_ascii=False), encoding="utf-8")


def encode(taken: Taken, tasks: list[ShardTask], target: Target, pool: Pool) -> dict[str, Written]:
    """Pass two: all shards and row files, uploaded, by split."""
    written = {split: Written(split) for split in SPLITS}
    done, rows = 0, sum(taken.statistics.split_rows().values())
    step_progress.tell(done, rows, "rows encoded", key="encode")
    for part in pool.run(write_shards, ((task, target) for task in tasks)):
        written[part.split].add(part)
        done += sum(file.rows for file in part.row_files) + part.unseen.rows
        step_progress.tell(done, rows, "rows encoded", key="encode")
    return written
