"""What the prep tasks do in their pods: fetch, call, publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.steps import Step, step

if TYPE_CHECKING:
    from shipway.artifacts import DatasetManifest
    from shipway.components.prep.rows_manifest import RowsManifest


def dataset(spec: str, dataset: Any, report: Any) -> None:
    """Rows to a published dataset; writes its manifest and its report where KFP wants them.

    Args:
        spec: A DatasetSpec as JSON or YAML.
        dataset: KFP output with `.path`.
        report: KFP output with `.path`.
    """
    with step("dataset") as current:
        from shipway.code import use
        from shipway.components.prep.make import make_dataset
        from shipway.components.prep.spec import DatasetSpec
        from shipway.specs import parse
        from shipway.storage import Store

        wanted = parse(DatasetSpec, spec, "dataset")
        use(wanted.code, "dataset.code")
        manifest, found = make_dataset(wanted, Store.open())
        _tell_dataset(current, manifest, found)
        manifest.write(dataset.path)
        _copy_report(current, "Dataset", manifest.uri, report)


def ingest(spec: str, rows: Any) -> None:
    """A source's rows as Parquet in the store."""
    with step("ingest") as current:
        from shipway.code import use
        from shipway.components.prep.make import make_rows
        from shipway.components.prep.spec import DatasetSpec
        from shipway.specs import parse
        from shipway.storage import Store

        wanted = parse(DatasetSpec, spec, "dataset")
        use(wanted.code, "dataset.code")
        made = make_rows("ingested", Store.open(), spec=wanted)
        _tell_rows(current, made, rows)


def validate(rows: Any, validated: Any, report: Any) -> None:
    """Bad rows set aside, the others counted."""
    with step("validate") as current:
        made = _next_stage("validated", rows)
        _tell_rows(current, made, validated)
        _copy_report(current, "Validation", made.uri, report)


def split(rows: Any, splits: Any, report: Any) -> None:
    """Rows on their sides."""
    with step("split") as current:
        made = _next_stage("split", rows)
        _tell_rows(current, made, splits)
        _copy_report(current, "Split", made.uri, report)


def encode(rows: Any, dataset: Any, report: Any) -> None:
    """Split rows to a published dataset."""
    with step("encode") as current:
        from shipway.components.prep.make import encode_rows
        from shipway.components.prep.rows_manifest import RowsManifest
        from shipway.storage import Store

        manifest, found = encode_rows(RowsManifest.read(rows.path), Store.open())
        _tell_dataset(current, manifest, found)
        manifest.write(dataset.path)
        _copy_report(current, "Dataset", manifest.uri, report)


def _next_stage(stage: Any, rows: Any) -> RowsManifest:
    from shipway.components.prep.make import make_rows
    from shipway.components.prep.rows_manifest import RowsManifest
    from shipway.storage import Store

    return make_rows(stage, Store.open(), rows=RowsManifest.read(rows.path))


def _tell_rows(current: Step, made: RowsManifest, output: Any) -> None:
    current.output(rows_uri=made.uri, rows=made.rows, quarantined_rows=sum(made.bad.values()))
    made.write(output.path)


def _tell_dataset(current: Step, manifest: DatasetManifest, found: bool) -> None:
    current.output(
        dataset=manifest.uri,
        rows={split: part.rows for split, part in manifest.splits.items()},
        labels=len(manifest.labels),
        quarantined_rows=manifest.quarantined_rows,
        notes=manifest.statistics.get("notes", []),
        reused=found,
    )


def _copy_report(current: Step, title: str, uri: str, report: Any) -> None:
    from shipway.storage import open_uri

    store, key = open_uri(f"{uri}/report.html")
    Path(report.path).parent.mkdir(parents=True, exist_ok=True)
    Path(report.path).write_bytes(store.get(key))
    current.report(title, f"{uri}/report.html")
