"""Datasets made in the store, or found there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.artifacts import SPLITS, DatasetManifest, FileRef, Shard
from shipway.components.prep import alike, compare, core, noted, publish, vectors
from shipway.components.prep.columns import check_slices
from shipway.components.prep.data import data_fingerprint, open_sources
from shipway.components.prep.heads import Source
from shipway.components.prep.leakage import Leakage, measure, write_group_hashes
from shipway.components.prep.pool import Pool
from shipway.components.prep.report import dataset_report
from shipway.components.prep.schema import Schema, check, schema_of, settled
from shipway.components.prep.shards import Target, Written, as_shard
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.components.prep.verdict import bad_places, check_rows, check_sides
from shipway.recipes import load_recipe
from shipway.recipes.base import KnowsPlace, TellsFacts
from shipway.specs import parse

if TYPE_CHECKING:
    from shipway.storage import Store

POOL_BYTES = 24 << 20  # a smaller source is done before a second process has started
WORK_S = 10.0  # of encoding, that one process does alone
WORKERS = "SHIPWAY_PREP_WORKERS"  # processes; default: the cores that this process may use


def make_dataset(spec: DatasetSpec, store: Store) -> tuple[DatasetManifest, bool]:
    """The published dataset of a spec, and whether it was there already."""
    check(spec)
    spec, settled_note = settled(spec)
    source = data_fingerprint(spec)
    prefix = f"datasets/{publish.folder_fingerprint(spec, source)}"
    published = publish.find_published(store, prefix)
    if published is not None:
        _check_slices(published.statistics.get("reading"), spec)
        return published, True
    recipe = load_recipe(spec.recipe)
    if isinstance(recipe, KnowsPlace):
        recipe.check_place(parse(recipe.EncoderParams, spec.encoder, "dataset.encoder"))
    if settled_note:
        print(f"shipway: {settled_note}", file=sys.stderr, flush=True)
    with _workplace() as folder:
        given = open_sources(spec, folder / "source")
        read = noted.document(given.sources, given.skipped, spec)
        _check_slices(read, spec)
        return _encode(given.sources, spec, store, prefix, folder, read), False


def _encode(
    sources: list[Source],
    spec: DatasetSpec,
    store: Store,
    prefix: str,
    folder: Path,
    read: dict[str, Any],
) -> DatasetManifest:
    """`read` says what was read."""
    uri = f"{store.uri}/{prefix}"
    scratch, out, schema = folder / "scratch", folder / "out", schema_of(spec)
    with Pool(_workers(sources)) as pool:
        taken = core.take(sources, spec, scratch, pool)
        statistics = taken.statistics
        quarantine = _quarantine(core.write_quarantine(taken, out / "bad.parquet"), out / "bad.parquet", store, prefix)
        check_rows(statistics, spec, f"{uri}/quarantine", taken.origins.locate)
        notes = check_sides(statistics, spec)
        leakage = measure(scratch, taken.layout.hash_buckets, pool)
        taken = core.refined(taken, pool)
        encoder = core.fit_encoder(taken, spec, pool)
        core.write_encoder(encoder, out / "encoder.json")
        for split in SPLITS:
            write_group_hashes(scratch, split, out / "groups" / f"{split}.parquet")
        row = core.sample(taken, spec, encoder)
        tasks = core.plan_shards(taken, spec, row.record_bytes)
        if row.seconds * sum(statistics.split_rows().values()) > WORK_S:
            pool.workers = _cores()  # a small source, and an encoder that takes its time
        target = Target(
            scratch, taken.layout.row_buckets, spec, out / "encoder.json", store.uri, prefix,
            counts_unseen=spec.unseen_labels == "count", vectors_share=min(vectors.KEPT / statistics.rows, 1),
        )  # fmt: skip
        written = core.encode(taken, tasks, target, pool)
    unseen = out / "unseen.parquet"
    quarantine += _quarantine(core.write_unseen(taken, spec, unseen), unseen, store, prefix)
    left_out = {} if target.counts_unseen else core.without_unseen(statistics, written)
    read = noted.with_counted(read, statistics)
    notes = [*_row_notes(read, statistics, schema), *notes, *_leakage_notes(statistics, leakage, schema)]
    notes += _unanswerable_notes(written)
    near = alike.judge(vectors.read(scratch), schema, taken.origins.locate)
    notes += alike.notes(near, spec.group_column)
    document = publish.statistics_document(statistics, schema.kind.unit, leakage, notes)
    document["alike"] = near
    document["reading"] = read
    document["bad_places"] = bad_places(statistics, spec, taken.origins.locate)
    document["encoder"] = dict(encoder.facts) if isinstance(encoder, TellsFacts) else {}
    document["comparison"] = _compared(document, store, spec.name)
    files = ["encoder.json", *(f"groups/{split}.parquet" for split in SPLITS)]
    prepared = publish.Prepared(
        statistics,
        leakage,
        encoder,
        written,
        _upload(store, out, files, prefix),
        quarantine,
        document,
        left_out,
        row.unpacked_bytes,
    )
    manifest = publish.describe(prepared, spec, uri)
    store.put(f"{prefix}/report.html", dataset_report(manifest).render().encode())
    store.put(f"{prefix}/{publish.MANIFEST}", manifest.to_json().encode())
    return manifest


def _check_slices(read: Any, spec: DatasetSpec) -> None:
    check_slices(spec.slices, read["columns"])


def _compared(document: dict[str, object], store: Store, name: str) -> dict[str, object] | None:
    champion = compare.champion_dataset(store, name)
    if champion is None:
        return None
    comparison = compare.compare(document, champion)
    notes = document["notes"]
    assert isinstance(notes, list)
    notes += compare.notes(comparison)
    return comparison


def _row_notes(read: dict[str, Any], statistics: Statistics, schema: Schema) -> list[str]:
    return [*noted.notes(read), *schema.labels.notes(statistics.classes())]


def _leakage_notes(statistics: Statistics, leakage: Leakage, schema: Schema) -> list[str]:
    rows = statistics.split_rows()
    sentences = [
        f"{leakage.leaked_rows[split]:,} of {rows[split]:,} rows of {split} "
        f"({leakage.leaked_rows[split] / rows[split]:.1%}) have an input that also stands in train: "
        "figures on them flatter the model"
        for split in ("eval", "test")
        if leakage.leaked_rows[split]
    ]
    if leakage.shared_groups:
        sentences.append(f"{leakage.shared_groups:,} groups stand in more than one split")
    if leakage.conflicting_inputs and schema.has_classes:
        sentences.append(f"{leakage.conflicting_inputs:,} inputs stand there with different labels")
    return sentences


def _unanswerable_notes(written: Mapping[str, Written]) -> list[str]:
    rows = sum((part.unanswerable for part in written.values()), Counter())
    return [f"{count:,} rows have {why}" for why, count in rows.most_common()]


def _quarantine(rows: int, path: Path, store: Store, prefix: str) -> list[Shard]:
    """Uploaded at once, so that a failing step's message can point at it."""
    if not rows:
        return []
    key = f"quarantine/{path.name}"
    return [as_shard(store.upload(path, f"{prefix}/{key}"), key, rows)]


def _upload(store: Store, out: Path, paths: list[str], prefix: str) -> dict[str, FileRef]:
    refs = store.upload_many([(out / path, f"{prefix}/{path}") for path in paths])
    return {path: ref.model_copy(update={"path": path}) for path, ref in zip(paths, refs, strict=True)}


@contextmanager
def _workplace() -> Iterator[Path]:
    """Scratch disk (TMPDIR): about the size of the uncompressed source."""
    with tempfile.TemporaryDirectory(prefix="shipway-prep-") as name:
        folder = Path(name)
        (folder / "scratch").mkdir()
        (folder / "out").mkdir()
        yield folder


def _workers(sources: list[Source]) -> int:
    if sum(source.path.stat().st_size + source.files_bytes for source in sources) <= POOL_BYTES:
        return 1
    return _cores()


def _cores() -> int:
    return int(os.environ.get(WORKERS, len(os.sched_getaffinity(0))))
