"""Datasets and stages made in the store, or found there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.artifacts import SPLITS, DatasetManifest, FileRef, Shard
from shipway.code.given import use_stored
from shipway.components.prep import compare, core, noted, publish, stages
from shipway.components.prep.columns import check_slices
from shipway.components.prep.heads import Source
from shipway.components.prep.leakage import Leakage, measure, write_group_hashes
from shipway.components.prep.pool import Pool
from shipway.components.prep.report import dataset_report, rows_report
from shipway.components.prep.rows_manifest import RowsManifest, Stage
from shipway.components.prep.schema import Schema, check, schema_of
from shipway.components.prep.shards import Target, as_shard
from shipway.components.prep.sources import empty_files, find_sources
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.components.prep.verdict import check_rows, check_sides
from shipway.errors import InvalidSpec
from shipway.images import VERSION
from shipway.recipes.base import check_recipe_allowed

if TYPE_CHECKING:
    from shipway.storage import Store

POOL_BYTES = 24 << 20  # a smaller source is done before a second process has started
WORKERS = "SHIPWAY_PREP_WORKERS"  # processes; default: the cores that this process may use
STAGES: tuple[Stage, ...] = ("ingested", "validated", "split")


def make_dataset(spec: DatasetSpec, store: Store) -> tuple[DatasetManifest, bool]:
    """The published dataset of a spec, and whether it was there already."""
    from shipway.storage.sources import fetch_source, fingerprint_source, skipped_files

    check(spec)
    more = schema_of(spec).suffixes
    source = fingerprint_source(spec.data, spec.format, more)
    prefix = f"datasets/{publish.folder_fingerprint('dataset', spec, source)}"
    found = publish.find_published(store, prefix, DatasetManifest)
    if found is not None:
        _check_slices(found.statistics.get("reading"), spec)
        return found, True
    with _workplace() as folder:
        files = fetch_source(spec.data, folder / "source", spec.format, more)
        sources = find_sources(files, spec)
        read = noted.document(sources, skipped_files(spec.data, spec.format, more) | empty_files(files, sources), spec)
        _check_slices(read, spec)
        return _encode(sources, spec, spec, store, prefix, folder, read), False


def encode_rows(rows: RowsManifest, store: Store) -> tuple[DatasetManifest, bool]:
    """The dataset of rows that were split, and whether it was there already."""
    _expect(rows, "split", "encode")
    shown = DatasetSpec.model_validate(rows.spec)
    prefix = f"datasets/{publish.folder_fingerprint('dataset', shown, rows.fingerprint)}"
    found = publish.find_published(store, prefix, DatasetManifest)
    if found is not None:
        return found, True
    with _workplace() as folder:
        sources = stages.staged_sources(store, rows, folder / "source")
        return _encode(sources, stages.staged_spec(rows), shown, store, prefix, folder, rows.reading, rows.bad), False


def _encode(
    sources: list[Source],
    spec: DatasetSpec,
    shown: DatasetSpec,
    store: Store,
    prefix: str,
    folder: Path,
    read: dict[str, Any],
    earlier_bad: dict[str, int] | None = None,
) -> DatasetManifest:
    """`shown` is the spec as the user gave it, `spec` the one whose columns the sources have, `read` what was read."""
    uri = f"{store.uri}/{prefix}"
    scratch, out, schema = folder / "scratch", folder / "out", schema_of(spec)
    with Pool(_workers(sources)) as pool:
        taken = core.take(sources, spec, scratch, pool)
        statistics = taken.statistics
        quarantine = _quarantine(core.write_quarantine(taken, out / "bad.parquet"), out / "bad.parquet", store, prefix)
        statistics.bad.update(earlier_bad or {})
        statistics.records += sum((earlier_bad or {}).values())
        check_rows(statistics, spec, f"{uri}/quarantine", taken.origins.locate)
        notes = check_sides(statistics, shown)
        leakage = measure(scratch, taken.layout.hash_buckets)
        taken = core.refined(taken, pool)
        encoder = core.fit_encoder(taken, spec)
        core.write_encoder(encoder, out / "encoder.json")
        for split in SPLITS:
            write_group_hashes(scratch, split, out / "groups" / f"{split}.parquet")
        tasks = core.plan_shards(taken, spec, core.sample_bytes(taken, spec, encoder))
        target = Target(
            scratch, taken.layout.row_buckets, spec, out / "encoder.json", store.uri, prefix,
            counts_unseen=shown.unseen_labels == "count",
        )  # fmt: skip
        written = core.encode(taken, tasks, target, pool)
    unseen = out / "unseen.parquet"
    quarantine += _quarantine(core.write_unseen(taken, spec, unseen), unseen, store, prefix)
    left_out = {} if target.counts_unseen else core.without_unseen(statistics, written)
    read = noted.with_counted(read, statistics)
    notes = [*_row_notes(read, statistics, schema), *notes, *_leakage_notes(statistics, leakage, schema)]
    document = publish.statistics_document(statistics, schema.kind.unit, leakage, notes)
    document["reading"] = read
    document["comparison"] = _compared(document, store, shown.name)
    files = ["encoder.json", *(f"groups/{split}.parquet" for split in SPLITS)]
    prepared = publish.Prepared(
        statistics, leakage, encoder, written, _upload(store, out, files, prefix), quarantine, document, left_out
    )
    manifest = publish.describe(prepared, shown, uri)
    store.put(f"{prefix}/report.html", dataset_report(manifest).render().encode())
    store.put(f"{prefix}/{publish.MANIFEST}", manifest.to_json().encode())
    return manifest


def make_rows(
    stage: Stage, store: Store, *, spec: DatasetSpec | None = None, rows: RowsManifest | None = None
) -> RowsManifest:
    """One stage's rows in the store, made unless they are there: `ingested` from a spec, the others from rows."""
    from shipway.storage.sources import fetch_source, fingerprint_source, skipped_files

    if rows is not None:
        before = STAGES[STAGES.index(stage) - 1]
        _expect(rows, before, {"validated": "validate", "split": "split"}.get(stage, stage))
        shown = DatasetSpec.model_validate(rows.spec)
        source = rows.fingerprint
    else:
        assert spec is not None
        check(spec)
        shown, source = spec, fingerprint_source(spec.data, spec.format, schema_of(spec).suffixes)
    prefix = f"rows/{publish.folder_fingerprint(stage, shown, source)}"
    found = publish.find_published(store, prefix, RowsManifest)
    if found is not None:
        return found
    with _workplace() as folder:
        if rows is not None:
            sources, current = stages.staged_sources(store, rows, folder / "source"), stages.staged_spec(rows)
            read = rows.reading
        else:
            more = schema_of(shown).suffixes
            files = fetch_source(shown.data, folder / "source", shown.format, more)
            sources = find_sources(files, shown)
            skipped = skipped_files(shown.data, shown.format, more) | empty_files(files, sources)
            current, read = shown, noted.document(sources, skipped, shown)
            _check_slices(read, shown)
        layout = core.layout_for(sources, folder / "scratch", current)
        plan = stages.StagePlan(stage, current, layout, store.uri, prefix)
        with Pool(_workers(sources)) as pool:
            staged = stages.run_stage(plan, sources, pool)
        return _publish_rows(plan, staged, shown, store, rows, read)


def _publish_rows(
    plan: stages.StagePlan,
    staged: stages.Staged,
    shown: DatasetSpec,
    store: Store,
    before: RowsManifest | None,
    read: dict[str, Any],
) -> RowsManifest:
    uri = f"{store.uri}/{plan.prefix}"
    statistics = staged.statistics
    quarantine = _quarantine(staged.bad_rows, staged.quarantine, store, plan.prefix)
    if before is not None:
        statistics.bad.update(before.bad)
        statistics.records = before.records
    if plan.stage == "validated":
        check_rows(statistics, shown, f"{uri}/quarantine", staged.locate)
    read = noted.with_counted(read, statistics)
    schema = schema_of(shown)
    notes = _row_notes(read, statistics, schema)
    if plan.stage == "split":
        notes += check_sides(statistics, shown)
    document = statistics.document(schema.kind.unit)
    if staged.leakage is not None:
        document = publish.statistics_document(statistics, schema.kind.unit, staged.leakage, notes)
        document["comparison"] = _compared(document, store, shown.name)
    document["reading"] = read
    manifest = RowsManifest(
        name=shown.name,
        uri=uri,
        fingerprint=plan.prefix.rsplit("/", 1)[-1],
        stage=plan.stage,
        spec=shown.model_dump(mode="json"),
        files=staged.files,
        origins=staged.origins,
        rows=statistics.rows,
        records=statistics.records,
        bad=dict(sorted(statistics.bad.items())),
        quarantine=quarantine,
        leakage=staged.leakage.document(statistics.split_rows()) if staged.leakage and plan.stage == "split" else {},
        statistics=document,
        reading=read,
        created_at=publish.now(),
        shipway_version=VERSION,
    )
    store.put(f"{plan.prefix}/report.html", rows_report(manifest).render().encode())
    store.put(f"{plan.prefix}/{publish.MANIFEST}", manifest.to_json().encode())
    return manifest


def _check_slices(read: Any, spec: DatasetSpec) -> None:
    check_slices(spec.slices, read["columns"])


def _expect(rows: RowsManifest, stage: Stage, step: str) -> None:
    where, code = f"{step}: the rows at {rows.uri}", str(rows.spec.get("code", ""))
    check_recipe_allowed(str(rows.spec.get("recipe", "intents")), where, code=code)
    use_stored(code, where)
    if rows.stage != stage:
        raise InvalidSpec(f"{step}: these rows are {rows.stage}; expected {stage} ones, from the step before")


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
    found = [
        f"{leakage.leaked_rows[split]:,} of {rows[split]:,} rows of {split} "
        f"({leakage.leaked_rows[split] / rows[split]:.1%}) have an input that also stands in train: "
        "figures on them flatter the model"
        for split in ("eval", "test")
        if leakage.leaked_rows[split]
    ]
    if leakage.shared_groups:
        found.append(f"{leakage.shared_groups:,} groups stand in more than one split")
    if leakage.conflicting_inputs and schema.has_classes:
        found.append(f"{leakage.conflicting_inputs:,} inputs stand there with different labels")
    return found


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
    if sum(source.path.stat().st_size for source in sources) <= POOL_BYTES:
        return 1
    return int(os.environ.get(WORKERS, len(os.sched_getaffinity(0))))
