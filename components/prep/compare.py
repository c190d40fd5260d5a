"""This dataset beside the one that the champion was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from shipway.artifacts import DatasetManifest
from shipway.errors import CorruptArtifact, NotFound

if TYPE_CHECKING:
    from shipway.storage import Store

DRIFT = 0.2  # population stability index from which the field speaks of a shift (Siddiqi, Credit Risk Scorecards, 2006)
FLOOR = 1e-4  # a class that vanished would make the index infinite


def champion_dataset(store: Store, name: str) -> DatasetManifest | None:
    """What the champion of this name was trained on; None without a champion, or when its dataset is gone."""
    from shipway.registry import Registry
    from shipway.storage import read_artifact

    try:
        version = Registry(store).get(name, "champion")
        return read_artifact(DatasetManifest, version.dataset_uri)
    except (NotFound, CorruptArtifact):
        return None


def compare(statistics: Mapping[str, Any], champion: DatasetManifest) -> dict[str, Any]:
    """New and gone labels, and how far labels and sizes of the input have moved.

    Args:
        statistics: `Statistics.document` of the new data.

    Returns:
        `fingerprint`, `same_source_bytes`, `new_labels`, `gone_labels`, `rows` (then, now), `label_psi`,
        `size_psi` (population stability index), `label_js` (Jensen-Shannon divergence in bits, 0 to 1), `moved`: the
        labels whose share changed most, as [label, then, now]. An index is None where there is nothing to compare.
    """
    now = {str(label): int(count) for label, count in statistics["label_counts"].items()}
    then = _counts(champion)
    shares_then, shares_now = _shares(then, now)
    names = sorted({*then, *now})
    change = sorted(zip(names, shares_then, shares_now, strict=True), key=lambda row: -abs(row[2] - row[1]))
    sizes_then = dict(champion.statistics.get("size_histogram", {}))  # type: ignore[call-overload]
    sizes_now = statistics["size_histogram"]
    return {
        "fingerprint": champion.fingerprint,
        "new_labels": sorted(set(now) - set(then)),
        "gone_labels": sorted(set(then) - set(now)),
        "rows": [sum(split.rows for split in champion.splits.values()), statistics["rows"]],
        "label_psi": stability_index(then, now) if then and now else None,
        "label_js": jensen_shannon(then, now) if then and now else None,
        "size_psi": stability_index(sizes_then, sizes_now) if sizes_then else None,
        "moved": [[label, round(float(a), 6), round(float(b), 6)] for label, a, b in change[:10]],
    }


def notes(comparison: Mapping[str, Any]) -> list[str]:
    """What of it a person should read first."""
    sentences = []
    for key, what in (
        ("new_labels", "labels that the champion does not know"),
        ("gone_labels", "labels that are gone"),
    ):
        if comparison[key]:
            sentences.append(f"{len(comparison[key])} {what}: {', '.join(comparison[key][:10])}")
    for key, what in (("label_psi", "label distribution"), ("size_psi", "size of the inputs")):
        if comparison[key] is not None and comparison[key] > DRIFT:
            sentences.append(
                f"the {what} has moved since the champion's data (PSI {comparison[key]:.2f}, above {DRIFT})"
            )
    return sentences


def stability_index(then: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Population stability index: sum of (q - p) ln(q / p) over the keys' shares, each at least `FLOOR`."""
    p, q = _shares(then, now)
    p, q = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(then: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of the keys' shares in bits, 0 (equal) to 1 (nothing in common)."""
    p, q = _shares(then, now)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(side > 0, side * np.log2(side / middle), 0.0).sum() for side in (p, q)]
    return float(sum(terms) / 2)


def _shares(then: Mapping[str, int], now: Mapping[str, int]) -> tuple[Any, Any]:
    names = sorted({*then, *now})
    sides = [np.array([counts.get(name, 0) for name in names], dtype=np.float64) for counts in (then, now)]
    return tuple(side / max(side.sum(), 1.0) for side in sides)


def _counts(manifest: DatasetManifest) -> dict[str, int]:
    counts: dict[str, int] = {}
    for split in manifest.splits.values():
        for label, rows in split.class_counts.items():
            counts[label] = counts.get(label, 0) + rows
    return counts
