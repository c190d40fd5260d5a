"""`prep.dataset`: two passes over hash buckets, so that memory holds a bucket and never the dataset.

Pass one reads pieces of the source, sets bad rows aside, hashes, splits, and appends the rows to bucket files on
scratch disk. Pass two takes bucket after bucket, shuffles, encodes and writes shards. Both run in several processes;
what they write does not depend on how many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.artifacts import SPLITS
from shipway.components.prep.leakage import Leakage, measure, write_group_hashes
from shipway.components.prep.pool import Pool
from shipway.components.prep.rows import Layout, PieceResult, take_piece
from shipway.components.prep.shards import ShardTask, Written, chunks, encode_rows, ordered_rows, write_shards
from shipway.components.prep.sources import Source, all_columns, cut
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.spill import read_frames
from shipway.components.prep.statistics import Statistics
from shipway.errors import InvalidData
from shipway.recipes.base import Encoder, load_recipe
from shipway.specs import parse

BUCKET_BYTES = 24 << 20  # of rows as they lie on scratch disk
HASH_BUCKET_BYTES = 16 << 20
MAX_BUCKETS = 1_024
ROWS_PER_SHARD = 64  # a split with fewer than this for each of `min_shards` gets fewer shards
SAMPLE_ROWS = 2_000
MANY_LABELS = 20_000


@dataclass
class Prepared:
    """Everything about a dataset before it is published; files lie below `out`."""

    out: Path
    statistics: Statistics
    leakage: Leakage
    encoder: Encoder
    written: dict[str, Written]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Taken:
    """What pass one found."""

    layout: Layout
    statistics: Statistics
    sizes: NDArray[np.int64]  # bytes, shape (3, row_buckets)
    first_rows: list[int]  # by piece: rows of its file in front of it
    piece_sources: list[int]  # by piece: its file


def layout_for(sources: list[Source], scratch: Path, spec: DatasetSpec) -> Layout:
    """How many buckets, from the bytes of the source."""
    expand = {"": 1.2, ".gz": 5.0, ".bz2": 6.0, ".xz": 7.0, ".zst": 5.0}
    size = sum(
        source.path.stat().st_size * (4.0 if source.kind == "parquet" else expand[source.compression])
        for source in sources
    )
    used = {spec.text_column, spec.label_column, spec.group_column, spec.split_column}
    taken = {"text", "label", "group", "split", "row_id"}
    others = [name for name in all_columns(sources) if name not in used and not name.startswith("_")]
    columns = tuple(f"source_{name}" if name in taken else name for name in others)
    wanted = max(size / BUCKET_BYTES, 8.0)
    return Layout(scratch, columns, _power_of_two(wanted), _power_of_two(size / HASH_BUCKET_BYTES))


def _power_of_two(number: float) -> int:
    power = 1
    while power < number and power < MAX_BUCKETS:
        power *= 2
    return power


def take(sources: list[Source], spec: DatasetSpec, scratch: Path, pool: Pool) -> Taken:
    """Pass one.

    Raises:
        InvalidData: no rows, or a file that cannot be read to its end.
    """
    layout = layout_for(sources, scratch, spec)
    results: list[PieceResult] = []
    tasks = ((piece, spec, layout) for piece in cut(sources, scratch))
    for result in pool.run(take_piece, tasks):
        results.append(result)
    results.sort(key=lambda result: result.number)
    statistics = Statistics()
    sizes = np.zeros((len(SPLITS), layout.row_buckets), dtype=np.int64)
    before: dict[int, int] = {}
    first_rows = []
    for result in results:
        statistics.add(result.statistics)
        sizes += result.sizes
        first_rows.append(before.get(result.source, 0))
        before[result.source] = first_rows[-1] + result.statistics.records
    return Taken(layout, statistics, sizes, first_rows, [result.source for result in results])


def write_quarantine(taken: Taken, sources: list[Source], out: Path) -> Path | None:
    """One Parquet file: `source`, `row` (of the file, header not counted), `reason`, `raw`; None without bad rows."""
    if not taken.statistics.bad_rows:
        return None
    parts = []
    for number, (first, source) in enumerate(zip(taken.first_rows, taken.piece_sources, strict=True)):
        for frame in read_frames(taken.layout.scratch, f"bad-{number:06d}"):
            parts.append(
                frame.select(
                    pl.lit(sources[source].shown).alias("source"),
                    (pl.col("_row").cast(pl.Int64) + first).alias("row"),
                    "reason",
                    "raw",
                )
            )
    path = out / "quarantine" / "00000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.concat(parts).write_parquet(path)
    return path


def check(taken: Taken, sources: list[Source], spec: DatasetSpec, quarantine_uri: str) -> list[str]:
    """Whether this is a dataset to train on.

    Returns:
        What a person should know although it is no error.

    Raises:
        InvalidData: no rows, too many bad ones, one class, or a class without training rows.
    """
    statistics = taken.statistics
    if not statistics.records:
        raise InvalidData(f"data: {spec.data!r} has a header but no rows")
    bad = statistics.bad_rows
    if bad > spec.max_bad_fraction * statistics.records:
        raise InvalidData(_too_many_bad(taken, sources, spec, quarantine_uri))
    labels = statistics.labels()
    if len(labels) < 2:
        only = next(iter(labels), "")
        raise InvalidData(
            f"label_column {spec.label_column!r}: all {statistics.rows:,} rows have the label {only!r}; a classifier "
            "needs at least two"
        )
    if len(labels) > MANY_LABELS and len(labels) > statistics.rows / 2:
        raise InvalidData(
            f"label_column {spec.label_column!r}: {len(labels):,} different labels in {statistics.rows:,} rows; "
            "is it the right column?"
        )
    return _check_sides(statistics, spec)


def _too_many_bad(taken: Taken, sources: list[Source], spec: DatasetSpec, quarantine_uri: str) -> str:
    statistics = taken.statistics
    bad = statistics.bad_rows
    kinds = ", ".join(f"{count:,} {reason}" for reason, count in statistics.bad.most_common(3))
    examples = "; ".join(
        f"{sources[taken.piece_sources[e.piece]].shown} row {taken.first_rows[e.piece] + e.row}: {e.reason}"
        for e in statistics.examples[:3]
    )
    return (
        f"data: {bad:,} of {statistics.records:,} rows are bad ({bad / statistics.records:.1%}, allowed "
        f"{spec.max_bad_fraction:.1%} by max_bad_fraction): {kinds}; for example {examples}; "
        f"all of them in {quarantine_uri}"
    )


def _check_sides(statistics: Statistics, spec: DatasetSpec) -> list[str]:
    train = statistics.labels("train")
    rows = statistics.split_rows()
    how = f"split_column {spec.split_column!r}" if spec.split_column else "split by group hash"
    if not rows["train"]:
        raise InvalidData(f"{how}: no row stands in train ({rows['eval']:,} in eval, {rows['test']:,} in test)")
    notes = []
    for split in ("test", "eval"):
        if not rows[split]:
            notes.append(f"{split} has no rows")
            continue
        labels = statistics.labels(split)
        unseen = {label: count for label, count in labels.items() if label not in train}
        if unseen and spec.on_unseen_label == "error":
            shown = ", ".join(f"{label!r} ({count:,} rows)" for label, count in list(unseen.items())[:5])
            mend = (
                "put some of its rows into train"
                if spec.split_column
                else f"give it more groups, try another seed than {spec.seed}, or name a split_column"
            )
            raise InvalidData(
                f"{how}: {len(unseen)} label(s) of {split} have no row in train: {shown}; {mend}, or set "
                "on_unseen_label=quarantine"
            )
        lacking = [label for label in train if label not in labels]
        if lacking:
            notes.append(
                f"{len(lacking)} of {len(train)} labels have no row in {split}: {', '.join(lacking[:10])}"
                + (", ..." if len(lacking) > 10 else "")
            )
    return notes


def training_frames(taken: Taken) -> Iterator[pl.DataFrame]:
    """`text` and `label` of the training split, a bucket at a time."""
    for bucket in range(taken.layout.row_buckets):
        if taken.sizes[0, bucket]:
            yield from chunks(ordered_rows(taken.layout.scratch, "train", bucket).select("text", "label"))


def fit_encoder(taken: Taken, spec: DatasetSpec) -> Encoder:
    """The recipe's encoder, fitted on the training split as a stream."""
    recipe = load_recipe(spec.recipe)
    encoder = recipe.fit_encoder(training_frames(taken), parse(recipe.EncoderParams, spec.encoder, "dataset.encoder"))
    expected = sorted(taken.statistics.labels("train"))
    if sorted(encoder.labels) != expected:
        raise InvalidData(
            f"recipe {spec.recipe!r}: its encoder has {len(encoder.labels)} labels, the training split {len(expected)}"
        )
    return encoder


def plan_shards(taken: Taken, spec: DatasetSpec, bytes_per_row: float) -> list[ShardTask]:
    """Which buckets make which shards: of about `shard_mb`, enough of them in train for every replica."""
    tasks = []
    rows = taken.statistics.split_rows()
    for side, split in enumerate(SPLITS):
        buckets = [number for number in range(taken.layout.row_buckets) if taken.sizes[side, number]]
        if not buckets:
            continue
        wanted = int(np.ceil(rows[split] * bytes_per_row / (spec.shard_mb * 1e6)))
        if split == "train":
            wanted = max(wanted, min(spec.min_shards, rows[split] // ROWS_PER_SHARD))
        in_memory = int(np.ceil(taken.sizes[side].sum() / (2 * BUCKET_BYTES)))
        wanted = max(wanted, in_memory, 1)
        groups = np.array_split(np.array(buckets), min(wanted, len(buckets)))
        share = np.linspace(0, wanted, len(groups) + 1).astype(int)
        for group, first, end in zip(groups, share, share[1:], strict=False):
            tasks.append(ShardTask(split, tuple(int(bucket) for bucket in group), int(first), int(end - first)))
    return tasks


def sample_bytes(taken: Taken, encoder: Encoder) -> float:
    """Bytes that a row of the training split takes as a TFRecord."""
    ids = {label: number for number, label in enumerate(encoder.labels)}
    rows = next(training_frames(taken)).head(SAMPLE_ROWS)
    size = sum(len(record) + 16 for records in encode_rows(rows, encoder, ids) for record in records)
    return size / len(rows)


def encode(taken: Taken, spec: DatasetSpec, encoder: Encoder, out: Path, pool: Pool) -> dict[str, Written]:
    """Pass two: all shards and row files, by split."""
    document = encoder.to_document()
    (out / "encoder.json").write_text(json.dumps(document, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    tasks = plan_shards(taken, spec, sample_bytes(taken, encoder))
    done = list(pool.run(_shard_task, ((task, taken.layout.scratch, out, spec.recipe) for task in tasks)))
    written = {split: Written([], []) for split in SPLITS}
    for split, part in done:
        written[split].shards.extend(part.shards)
        written[split].row_files.extend(part.row_files)
    for part in written.values():
        part.shards.sort()
        part.row_files.sort()
    return written


_encoders: dict[Path, Encoder] = {}


def _shard_task(task: ShardTask, scratch: Path, out: Path, recipe: str, owner: str) -> tuple[str, Written]:
    if out not in _encoders:
        document = json.loads((out / "encoder.json").read_text(encoding="utf-8"))
        _encoders.clear()
        _encoders[out] = load_recipe(recipe).load_encoder(document)
    return task.split, write_shards(task, scratch, out, _encoders[out])


def finish(taken: Taken, out: Path) -> Leakage:
    """Leakage over all hashes, and the group hashes of each split below `out/groups`."""
    leakage = measure(taken.layout.scratch, taken.layout.hash_buckets)
    for split in SPLITS:
        write_group_hashes(taken.layout.scratch, split, out / "groups" / f"{split}.parquet")
    return leakage
