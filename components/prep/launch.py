"""What the prep task does in its pod: fetch, call, publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.steps import Step, step

if TYPE_CHECKING:
    from shipway.artifacts import DatasetManifest


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
        manifest, is_reused = make_dataset(wanted, Store.open())
        _tell_dataset(current, manifest, is_reused)
        manifest.write(dataset.path)
        _copy_report(current, "Dataset", manifest.uri, report)


def _tell_dataset(current: Step, manifest: DatasetManifest, is_reused: bool) -> None:
    current.output(
        dataset=manifest.uri,
        rows={split: part.rows for split, part in manifest.splits.items()},
        labels=len(manifest.labels),
        quarantined_rows=manifest.quarantined_rows,
        notes=manifest.statistics.get("notes", []),
        reused=is_reused,
    )


def _copy_report(current: Step, title: str, uri: str, report: Any) -> None:
    from shipway.storage import open_uri

    store, key = open_uri(f"{uri}/report.html")
    Path(report.path).parent.mkdir(parents=True, exist_ok=True)
    Path(report.path).write_bytes(store.get(key))
    current.report(title, f"{uri}/report.html")
