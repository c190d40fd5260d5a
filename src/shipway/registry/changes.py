"""What differs between two versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shipway.registry.record import ModelVersion


@dataclass(frozen=True)
class VersionDiff:
    """From `before` to `after`; only what differs.

    Attributes:
        params: Name -> (before, after); None where it was not set.
        metrics: Name -> (before, after) of the evaluations, on each one's own test rows.
        new_labels, gone_labels: Sorted.
        files: Path -> "added", "removed" or "changed".
        facts: Dataset, recipe, strategy and the like -> (before, after).
        same_test_rows: Both were evaluated on the same dataset, so that the metrics compare.
    """

    name: str
    before: int
    after: int
    params: dict[str, tuple[object, object]]
    metrics: dict[str, tuple[float | None, float | None]]
    new_labels: list[str]
    gone_labels: list[str]
    files: dict[str, str]
    facts: dict[str, tuple[object, object]]
    same_test_rows: bool


def diff_versions(before: ModelVersion, after: ModelVersion) -> VersionDiff:
    """What differs from `before` to `after`."""
    old, new = before.model, after.model
    old_files = {file.path: file.sha256 for file in old.files}
    new_files = {file.path: file.sha256 for file in new.files}
    files = {path: "added" if path not in old_files else "removed" for path in old_files.keys() ^ new_files.keys()}
    files |= {path: "changed" for path in old_files.keys() & new_files.keys() if old_files[path] != new_files[path]}
    return VersionDiff(
        name=after.name,
        before=before.version,
        after=after.version,
        params=_changed(old.params, new.params),
        metrics=_in_order(_changed(_metrics(before), _metrics(after)), after, before),
        new_labels=sorted(set(new.labels) - set(old.labels)),
        gone_labels=sorted(set(old.labels) - set(new.labels)),
        files=dict(sorted(files.items())),
        facts=_changed(_facts(before), _facts(after)),
        same_test_rows=_test_rows(before) is not None and _test_rows(before) == _test_rows(after),
    )


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted(before.keys() | after.keys())
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _in_order(values: dict[str, Any], *versions: ModelVersion) -> dict[str, Any]:
    """As their evaluations show them."""
    shown = [info.name for version in versions if version.evaluation for info in version.evaluation.shown]
    return {name: values[name] for name in dict.fromkeys([*shown, *values]) if name in values}


def _metrics(version: ModelVersion) -> dict[str, float]:
    return version.evaluation.metrics if version.evaluation else {}


def _test_rows(version: ModelVersion) -> tuple[str, str] | None:
    return (version.evaluation.dataset_fingerprint, version.evaluation.split) if version.evaluation else None


def _facts(version: ModelVersion) -> dict[str, object]:
    model = version.model
    return {
        "dataset": version.dataset_fingerprint,
        "task": model.task,
        "recipe": model.recipe,
        "code": model.code,
        "strategy": model.strategy,
        "workers": model.workers,
        "steps": model.steps,
        "seed": model.seed,
        "parameter_count": model.parameter_count,
        "serving": model.serving,
        "git_commit": model.git_commit,
        "image": model.image,
    }
