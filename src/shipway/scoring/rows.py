"""A dataset's rows, verified and in pieces: a split may be larger than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from shipway.artifacts import DatasetManifest, ModelManifest
from shipway.errors import InvalidData, InvalidSpec
from shipway.inputs import Input
from shipway.inputs.base import ShowsColumns
from shipway.specs import parse
from shipway.storage import open_folder

CHUNK_ROWS = 16_384
FRAME_BYTES = 64 << 20  # of a frame, where rows are large


def input_columns(made: DatasetManifest | ModelManifest, kind: Input) -> list[str]:
    """The rows' columns that hold the input of a dataset, or that a model was trained on."""
    return list(kind.columns(parse(kind.Params, made.input_params, f"{made.name} ({made.uri}): input_params")))


def read_rows(
    dataset: DatasetManifest, split: str, kind: Input, *, columns: Sequence[str] = (), chunk_rows: int = CHUNK_ROWS
) -> Iterator[pl.DataFrame]:
    """The rows of one split, a frame at a time, in the order of the manifest.

    Args:
        dataset: Names the Parquet files; each is fetched, checked against its sha256 and removed again.
        split: `train`, `eval` or `test`.
        kind: What a row gives the model.
        columns: Wanted beside those; read as strings, null as `(empty)`.
        chunk_rows: Most rows of a frame.

    Yields:
        Frames with row_id, label, group_hash (uint64), the input's columns, `columns` and those that previews tell.

    Raises:
        InvalidData: the split does not exist or has no rows.
        InvalidSpec: a column that the rows don't have.
        CorruptArtifact: a file differs from the manifest.
    """
    part = dataset.splits.get(split)
    if part is None or part.rows == 0 or not part.row_files:
        there = ", ".join(f"{name} ({held.rows} rows)" for name, held in dataset.splits.items())
        raise InvalidData(
            f"split {split!r} has no rows; it has {there}",
            field=f"dataset {dataset.name}",
            given=split,
            fix="raise its fraction",
        )
    ours = ["row_id", "label", *input_columns(dataset, kind)]
    store = open_folder(dataset.uri)
    with tempfile.TemporaryDirectory(prefix="shipway-rows-") as folder:
        for number, file in enumerate(part.row_files):
            path = Path(folder) / f"{number}.parquet"
            store.download(file.path, path, sha256=file.sha256)
            _check_columns(path, columns)
            at_once = min(chunk_rows, bearable_rows(file.rows, file.size_bytes))
            for offset in range(0, file.rows, at_once):
                frame = pl.scan_parquet(path, glob=False).slice(offset, at_once).collect()
                yield _select(frame, ours, columns, kind)
            path.unlink()


def read_frames(path: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Columns of a Parquet file in frames of bounded size, in order; one without rows where the file has none."""
    rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    at_once = bearable_rows(rows, path.stat().st_size)
    for offset in range(0, max(rows, 1), at_once):
        yield pl.scan_parquet(path, glob=False).select(columns).slice(offset, at_once).collect()


def bearable_rows(rows: int, size_bytes: int) -> int:
    """How many of so many rows, which take so many bytes, may be in memory at once."""
    return max(min(CHUNK_ROWS, FRAME_BYTES * rows // max(size_bytes, 1)), 1)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    known = pl.scan_parquet(path, glob=False).collect_schema()
    for column in columns:
        if column not in known:
            raise InvalidSpec("the rows have no column", field="slices", given=column, allowed=known)


def _select(frame: pl.DataFrame, ours: Sequence[str], columns: Sequence[str], kind: Input) -> pl.DataFrame:
    shown = [name for name in kind.shown if name in frame.columns] if isinstance(kind, ShowsColumns) else []
    others = [column for column in dict.fromkeys([*columns, *shown]) if column not in (*ours, "group_hash")]
    return frame.select(
        *ours,
        _group_hash(frame, kind),
        *(pl.col(column).cast(pl.String).fill_null("(empty)").alias(column) for column in others),
    )


def _group_hash(frame: pl.DataFrame, kind: Input) -> pl.Series:
    """Prep's hash of the group (docs/decisions/0030-pinned-hash.md); rows without a group stand for themselves."""
    if "group_hash" in frame.columns:
        return frame["group_hash"].cast(pl.UInt64)
    from xxhash import xxh3_64_intdigest

    group = pl.col("group").cast(pl.String) if "group" in frame.columns else pl.lit(None, pl.String)
    source = frame.select(pl.coalesce(group.str.normalize("NFC"), kind.content())).to_series()
    return pl.Series("group_hash", [xxh3_64_intdigest(value.encode()) for value in source], dtype=pl.UInt64)
