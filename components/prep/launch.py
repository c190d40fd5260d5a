"""What the prep tasks do in their pods: fetch, call, publish."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.specs import parse
from shipway.steps import Step, step

if TYPE_CHECKING:
    from shipway.artifacts import DatasetManifest
    from shipway.components.prep.spec import DatasetSpec
    from shipway.storage import Store

POOL_BYTES = 4 << 20  # a smaller source is done before a second process has started


def dataset(spec: str, dataset: Any, report: Any) -> None:
    """Rows to a published dataset; writes its manifest and its report where KFP wants them.

    Args:
        spec: A DatasetSpec as JSON or YAML.
        dataset: KFP output with `.path`.
        report: KFP output with `.path`.
    """
    with step("dataset") as current:
        from shipway.components.prep.spec import DatasetSpec

        checked = parse(DatasetSpec, spec, "dataset")
        manifest = prepare(checked, current)
        manifest.write(dataset.path)
        from shipway.storage import open_uri

        store, key = open_uri(f"{manifest.uri}/report.html")
        Path(report.path).parent.mkdir(parents=True, exist_ok=True)
        Path(report.path).write_bytes(store.get(key))


def prepare(spec: DatasetSpec, current: Step | None = None) -> DatasetManifest:
    """The published dataset of a spec, made if it is not there yet."""
    from shipway.components.prep import publish
    from shipway.storage import Store
    from shipway.storage.sources import fingerprint_source

    store = Store.open()
    prefix = f"datasets/{publish.dataset_fingerprint(spec, fingerprint_source(spec.data))}"
    manifest = publish.find_published(store, prefix)
    found = manifest is not None
    if manifest is None:
        with tempfile.TemporaryDirectory(prefix="shipway-prep-") as folder:
            manifest = _make(spec, store, prefix, Path(folder))
    if current is not None:
        rows = {split: part.rows for split, part in manifest.splits.items()}
        current.output(dataset=manifest.uri, rows=rows, labels=len(manifest.labels), reused=found)
        current.output(quarantined_rows=manifest.quarantined_rows)
        current.report("Dataset", f"{manifest.uri}/report.html")
    return manifest


def _make(spec: DatasetSpec, store: Store, prefix: str, folder: Path) -> DatasetManifest:
    from shipway.components.prep import core, publish
    from shipway.components.prep.pool import Pool
    from shipway.components.prep.report import render
    from shipway.components.prep.sources import find_sources
    from shipway.storage.sources import fetch_source

    scratch, out = folder / "scratch", folder / "out"
    scratch.mkdir()
    out.mkdir()
    sources = find_sources(fetch_source(spec.data, folder / "source"), spec)
    size = sum(source.path.stat().st_size for source in sources)
    with Pool(_workers() if size > POOL_BYTES else 1) as pool:
        taken = core.take(sources, spec, scratch, pool)
        quarantine = core.write_quarantine(taken, sources, out)
        if quarantine is not None:  # first, so that a failing step's message can point at it
            store.upload(quarantine, f"{prefix}/quarantine/{quarantine.name}")
        notes = core.check(taken, sources, spec, f"{store.uri}/{prefix}/quarantine")
        leakage = core.finish(taken, out)
        encoder = core.fit_encoder(taken, spec)
        written = core.encode(taken, spec, encoder, out, pool)
    prepared = core.Prepared(out, taken.statistics, leakage, encoder, written, notes)
    refs = {ref.path: ref for ref in store.upload_folder(out, prefix)}
    manifest = publish.describe(prepared, spec, store, prefix, refs)
    store.put(f"{prefix}/report.html", render(manifest).encode())
    store.put(f"{prefix}/{publish.MANIFEST}", manifest.to_json().encode())
    return manifest


def _workers() -> int:
    return max(1, min(len(os.sched_getaffinity(0)), int(os.environ.get("SHIPWAY_PREP_WORKERS", "16"))))
