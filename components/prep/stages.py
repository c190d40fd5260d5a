"""The four steps of prep one by one, for those who want to look or act between them; `dataset` does all in one task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from shipway.artifacts import Shard
from shipway.components.prep import core
from shipway.components.prep.checks import with_roles
from shipway.components.prep.heads import Source
from shipway.components.prep.leakage import Leakage, measure
from shipway.components.prep.pool import Pool
from shipway.components.prep.rows import Layout, separate, spill_hashes, with_hashes
from shipway.components.prep.rows_manifest import Origin, RowsManifest, Stage
from shipway.components.prep.schema import schema_of
from shipway.components.prep.shards import as_shard
from shipway.components.prep.sources import Piece, cut, read
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.spill import append_frame
from shipway.components.prep.statistics import Statistics
from shipway.specs import parse

if TYPE_CHECKING:
    from shipway.storage import Store


@dataclass(frozen=True)
class StagePlan:
    """What every process needs to know of a stage."""

    stage: Stage
    spec: DatasetSpec  # with the columns as this stage finds them
    layout: Layout
    store_uri: str
    prefix: str


@dataclass(frozen=True)
class StagePiece:
    """What one piece became; `file` is None where no row was left."""

    number: int
    source: int
    statistics: Statistics
    file: Shard | None


@dataclass(frozen=True)
class Staged:
    """A finished stage, before its manifest."""

    files: list[Shard]
    origins: list[Origin]
    statistics: Statistics
    locate: Callable[[int, int], tuple[str, int]]
    bad_rows: int  # in `quarantine` on scratch disk
    quarantine: Path
    leakage: Leakage | None


def staged_sources(store: Store, manifest: RowsManifest, folder: Path) -> list[Source]:
    """The files of an earlier stage, on this machine."""
    store_prefix = manifest.uri.removeprefix(store.uri).strip("/")
    store.download_folder(store_prefix, manifest.files, folder)
    spec = parse(DatasetSpec, manifest.spec, "spec")
    empty = set() if spec.group_column or manifest.stage == "split" else {"group"}
    empty |= set() if spec.split_column or manifest.stage == "split" else {"split"}
    sources = []
    for file, origin in zip(manifest.files, manifest.origins, strict=True):
        path = folder / file.path
        columns = tuple(name for name in pl.scan_parquet(path, glob=False).collect_schema() if name not in empty)
        sources.append(Source(path, origin.source, "parquet", "", columns, first_row=origin.first_row, is_staged=True))
    return sources


def staged_spec(manifest: RowsManifest) -> DatasetSpec:
    """The spec with the groups and sides that the stage's files hold."""
    spec = parse(DatasetSpec, manifest.spec, "spec")
    is_split = manifest.stage == "split"
    return spec.model_copy(
        update={
            "group_column": "group" if spec.group_column or is_split else None,
            "split_column": "split" if spec.split_column or is_split else None,
        }
    )


def run_stage(plan: StagePlan, sources: list[Source], pool: Pool) -> Staged:
    """Every piece of the sources through one stage, into the store."""
    scratch = plan.layout.scratch
    pieces = list(pool.run(stage_piece, ((piece, plan) for piece in cut(sources, scratch))))
    pieces.sort(key=lambda piece: piece.number)
    statistics = Statistics()
    for piece in pieces:
        statistics.add(piece.statistics)
    origins = core.Origins.of(sources, ((piece.source, piece.statistics.records) for piece in pieces))
    taken = core.Taken(plan.layout, statistics, np.zeros((3, 1), dtype=np.int64), origins)
    quarantine = scratch / "quarantine.parquet"
    bad_rows = core.write_quarantine(taken, quarantine)
    kept = [piece for piece in pieces if piece.file is not None]
    return Staged(
        [cast(Shard, piece.file) for piece in kept],
        [
            Origin(source=origins.files[piece.number], first_row=origins.first_rows[piece.number])
            for piece in kept
        ],
        statistics,
        origins.locate,
        bad_rows,
        quarantine,
        measure(scratch, plan.layout.hash_buckets) if plan.stage != "ingested" else None,
    )  # fmt: skip


def stage_piece(piece: Piece, plan: StagePlan, owner: str) -> StagePiece:
    """One piece through one stage; its rows go to `rows/NNNNN.parquet`."""
    statistics = Statistics()
    frames = []
    for parsed in read(piece):
        statistics.records += parsed.records if plan.stage == "ingested" else len(parsed.frame)
        statistics.unread.update(parsed.unread)
        good, bad = _apply(parsed.frame, parsed.bad, plan, owner)
        statistics.count_bad(bad, piece.number)
        if len(bad):
            append_frame(plan.layout.scratch / f"bad-{piece.number:06d}.{owner}", bad)
        if len(good):
            if plan.stage == "ingested":
                statistics.count_rows(good)
            else:
                statistics.count_good(good, schema_of(plan.spec))
            frames.append(good.select(pl.exclude("^_.*$"), "_row"))
    if not frames:
        return StagePiece(piece.number, piece.source, statistics, None)
    from shipway.storage import Store

    rows = pl.concat(frames, how="diagonal")
    path = plan.layout.scratch / f"stage-{piece.number:06d}.parquet"
    rows.write_parquet(path)
    key = f"rows/{piece.number:05d}.parquet"
    ref = Store.open(plan.store_uri).upload(path, f"{plan.prefix}/{key}")
    path.unlink()
    return StagePiece(piece.number, piece.source, statistics, as_shard(ref, key, len(rows)))


def _apply(frame: pl.DataFrame, bad: pl.DataFrame, plan: StagePlan, owner: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    if plan.stage == "ingested":
        return with_roles(frame, plan.spec), bad
    good, bad = separate(frame, bad, plan.spec)
    if not len(good):
        return good, bad
    hashed = with_hashes(good, plan.spec)
    spill_hashes(hashed, plan.layout, owner)
    if plan.stage == "validated":  # duplicates are counted by hash; where a row stands is decided by the next stage
        return good, bad
    return hashed, bad
