"""First pass: a piece of the source to checked, hashed, split rows on scratch disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.artifacts import SPLITS
from shipway.components.prep.checks import as_json, given_splits, judged, with_roles
from shipway.components.prep.hashes import SPLIT_CODE, distinct, hash_strings, mix, split_codes, text_form
from shipway.components.prep.parse import RAW_CHARS
from shipway.components.prep.schema import schema_of
from shipway.components.prep.sources import Piece, read
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.spill import (
    GROUP_RECORD,
    HASH_RECORD,
    append_frame,
    append_records,
    bucket_of,
    iter_frames,
    remove,
)
from shipway.components.prep.statistics import Statistics

SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Layout:
    """Where the first pass puts rows, and in how many buckets; the same for every process.

    Attributes:
        columns: All other columns of the dataset, in order.
        row_buckets, hash_buckets: Powers of two.
    """

    scratch: Path
    columns: tuple[str, ...]
    row_buckets: int
    hash_buckets: int


@dataclass(frozen=True)
class PieceResult:
    """What a piece held; `sizes` is the bytes written by split and bucket, int64, shape (3, row_buckets)."""

    number: int
    source: int
    statistics: Statistics
    sizes: NDArray[np.int64]


def take_piece(piece: Piece, spec: DatasetSpec, layout: Layout, owner: str) -> PieceResult:
    """Reads, checks, hashes, splits and spills a piece.

    Args:
        owner: Name of this process among the scratch files.

    Raises:
        InvalidData: an unknown word in the split column.
    """
    statistics, schema = Statistics(), schema_of(spec)
    sizes = np.zeros((len(SPLITS), layout.row_buckets), dtype=np.int64)
    for parsed in read(piece):
        statistics.records += parsed.records
        statistics.unread.update(parsed.unread)
        good, bad = separate(parsed.frame, parsed.bad, spec)
        statistics.count_bad(bad, piece.number)
        if len(bad):
            append_frame(layout.scratch / f"bad-{piece.number:06d}.{owner}", bad)
        if not len(good):
            continue
        hashed = with_hashes(good, spec)
        statistics.count_good(hashed, schema)
        sizes += _spill(hashed, schema.names, layout, owner, piece.number)
    return PieceResult(piece.number, piece.source, statistics, sizes)


def row_prefix(split: str, bucket: int, buckets: int) -> str:
    """Name of a bucket's scratch files; holds how many buckets there are, since they are split again when too big."""
    return f"rows-{split}-{buckets}-{bucket:05d}"


def refine(split: str, bucket: int, layout: Layout, factor: int, owner: str) -> tuple[str, int, NDArray[np.int64]]:
    """Splits a bucket by the next bits of its rows' hashes, a frame at a time.

    Returns:
        split, bucket, and the bytes of each of its `factor` parts, int64, shape (factor,).
    """
    buckets = layout.row_buckets * factor
    sizes = np.zeros(factor, dtype=np.int64)
    prefix = row_prefix(split, bucket, layout.row_buckets)
    for frame in iter_frames(layout.scratch, prefix):
        numbers = bucket_of(mix(frame.get_column("_row_hash").to_numpy()), buckets).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        rows = frame[order]
        bounds = np.searchsorted(numbers[order], bucket * factor + np.arange(factor + 1))
        for part, (start, end) in enumerate(pairwise(bounds.tolist())):
            if end > start:
                path = layout.scratch / f"{row_prefix(split, bucket * factor + part, buckets)}.{owner}"
                sizes[part] += append_frame(path, rows.slice(start, end - start))
    remove(layout.scratch, prefix)
    return split, bucket, sizes


def separate(frame: pl.DataFrame, unparsed: pl.DataFrame, spec: DatasetSpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows by role, and bad ones as `_row`, `raw`, `reason`."""
    rows = judged(with_roles(frame, spec), spec)
    wrong = pl.col("_reason").is_not_null()
    if not rows.select(wrong.any()).item():
        return rows.drop("_reason"), unparsed
    bad = rows.filter(wrong).with_columns(pl.col("_label").alias("label"))
    raw = as_json(bad, [name for name in bad.columns if not name.startswith("_")]).str.slice(0, RAW_CHARS)
    told = bad.select("_row", raw.alias("raw"), pl.col("_reason").alias("reason"))
    return rows.filter(~wrong).drop("_reason"), pl.concat([unparsed, told]).sort("_row")


def with_hashes(frame: pl.DataFrame, spec: DatasetSpec) -> pl.DataFrame:
    """Adds `_content_hash`, `_group_hash`, `_row_hash` (uint64, see hashes.py) and the split."""
    schema = schema_of(spec)
    content = frame.select(schema.kind.content()).to_series()
    content_hash = hash_strings(content)
    if spec.group_column:
        group_hash = hash_strings(frame.select(pl.col("group").str.normalize("NFC")).to_series())
    else:
        group_hash = content_hash
        frame = frame.with_columns(content.alias("group"))
    cells = [text_form(frame.get_column(name)) for name in (*schema.names, "label", "group")]
    key = pl.select(pl.concat_str(cells, separator=SEPARATOR)).to_series()
    out = frame.with_columns(
        pl.Series("_content_hash", content_hash),
        pl.Series("_group_hash", group_hash),
        pl.Series("_row_hash", hash_strings(key)),
    )
    if spec.split_column:
        return given_splits(out, spec)
    codes = split_codes(group_hash, spec.seed, spec.eval_fraction, spec.test_fraction)
    return out.with_columns(pl.Series("split", np.array(SPLITS, dtype=object)[codes], dtype=pl.String))


def _spill(frame: pl.DataFrame, inputs: tuple[str, ...], layout: Layout, owner: str, number: int) -> NDArray[np.int64]:
    """Writes rows and hashes to their buckets; the bytes of rows, shape (3, row_buckets)."""
    split = frame.get_column("split").replace_strict(SPLIT_CODE, return_dtype=pl.UInt8).to_numpy()
    hashes = frame.get_column("_row_hash").to_numpy()
    bucket = bucket_of(mix(hashes), layout.row_buckets).astype(np.int64) + split.astype(np.int64) * layout.row_buckets
    order = np.argsort(bucket, kind="stable")
    missing = [name for name in layout.columns if name not in frame.columns]
    rows = frame.select(
        pl.lit(number, dtype=pl.UInt32).alias("_piece"),
        "_row",
        "_row_hash",
        *inputs,
        "label",
        "group",
        "split",
        *[pl.lit(None, dtype=pl.String).alias(name) if name in missing else pl.col(name) for name in layout.columns],
    )[order]
    sizes = np.zeros(len(SPLITS) * layout.row_buckets, dtype=np.int64)
    bounds = np.searchsorted(bucket[order], np.arange(len(sizes) + 1))
    for key, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            side, position = divmod(key, layout.row_buckets)
            path = layout.scratch / f"{row_prefix(SPLITS[side], position, layout.row_buckets)}.{owner}"
            sizes[key] = append_frame(path, rows.slice(start, end - start))
    spill_hashes(frame, layout, owner)
    return sizes.reshape(len(SPLITS), layout.row_buckets)


def spill_hashes(frame: pl.DataFrame, layout: Layout, owner: str) -> None:
    """Writes each row's content, label and group hashes, with its split, to the buckets of `leakage.measure`."""
    split = frame.get_column("split").replace_strict(SPLIT_CODE, return_dtype=pl.UInt8).to_numpy()
    records = np.empty(len(frame), dtype=HASH_RECORD)
    records["content"] = frame.get_column("_content_hash").to_numpy()
    records["group"] = frame.get_column("_group_hash").to_numpy()
    labels = frame.get_column("label").unique(maintain_order=True)
    label_hashes = pl.Series(hash_strings(labels))
    records["label"] = frame.get_column("label").replace_strict(labels, label_hashes).to_numpy()
    records["split"] = split
    append_records(layout.scratch, "hashes", owner, records, "content", layout.hash_buckets)
    for code in range(len(SPLITS)):
        groups = distinct(records["group"][split == code])
        sided = np.empty(len(groups), dtype=GROUP_RECORD)
        sided["group"], sided["split"] = groups, code
        append_records(layout.scratch, "groups", owner, sided, "group", layout.hash_buckets)
