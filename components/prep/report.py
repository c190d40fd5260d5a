"""What a person sees of the data: counts, faults, splits, and the difference from the champion's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shipway.artifacts import SPLITS, DatasetManifest
from shipway.components.prep.alike_page import add_alike
from shipway.pages import Report, bars, columns, percent


def dataset_report(manifest: DatasetManifest) -> Report:
    """A whole dataset."""
    statistics: Mapping[str, Any] = manifest.statistics
    report = Report(f"Dataset {manifest.name}", f"{manifest.source_uri} · {manifest.fingerprint}")
    report.tiles(
        {
            "rows": statistics["rows"],
            **({"labels": len(manifest.labels)} if manifest.labels else {}),
            "quarantined": manifest.quarantined_rows,
            "test rows seen in train": percent(manifest.leakage.get("test_share_in_train", 0.0)),
            **_near(manifest.leakage),
        }
    )
    _notes(report, statistics)
    report.section("Splits", _how_split(manifest.group_column))
    report.table(
        ["split", "rows", "share", "groups", "labels", "shards", "inputs that stand in train"],
        [_split_row(manifest, name) for name in SPLITS],
        sortable=False,
    )
    _labels(report, statistics, {name: manifest.splits[name].class_counts for name in SPLITS})
    _content(report, statistics, manifest.uri)
    add_alike(report, statistics.get("alike", {}), manifest.group_column)
    _read(report, statistics)
    _comparison(report, statistics)
    told: Any = statistics.get("encoder", {})
    report.section("Encoder").facts({"recipe": manifest.recipe, **manifest.recipe_params, **told})
    return report


def _near(leakage: Mapping[str, float]) -> dict[str, str]:
    share = leakage.get("test_share_near_train")
    return {} if share is None else {"test rows near one of train": percent(share)}


def _split_row(manifest: DatasetManifest, name: str) -> list[object]:
    split = manifest.splits[name]
    total = sum(part.rows for part in manifest.splits.values())
    leaked = "" if name == "train" else percent(manifest.leakage.get(f"{name}_share_in_train", 0.0))
    labels = sum(1 for count in split.class_counts.values() if count)
    return [name, split.rows, percent(split.rows / total), split.groups, labels, len(split.shards), leaked]


def _how_split(group_column: str | None) -> str:
    by = f"the column {group_column!r}" if group_column else "the input's content"
    return f"A row's group is {by}; rows of one group stand on one side."


def _notes(report: Report, statistics: Mapping[str, Any]) -> None:
    for note in statistics.get("notes", []):
        report.callout("warn", note)


def _read(report: Report, statistics: Mapping[str, Any]) -> None:
    """What was done with the source that its rows do not show."""
    read = statistics.get("reading") or {}
    rows = [["file skipped", name, why] for name, why in read.get("skipped", {}).items()]
    rows += [["quoting", name, why] for name, why in read.get("quoting", {}).items()]
    rows += [["columns left out", name, ", ".join(columns)] for name, columns in read.get("left_out", {}).items()]
    rows += [
        [f"label read ({read['labels']['how']})", f"{given!a} to {written!r}", f"{count:,} rows"]
        for given, written, count in read.get("labels", {}).get("changes", [])
    ]
    if rows:
        report.section(
            "How the source was read",
            f"{read['files']} file{'s were' if read['files'] > 1 else ' was'} read, {read['skipped_files']} skipped.",
        )
        report.table(["what", "where", "how"], rows)


def _counts(statistics: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = statistics["label_counts"]
    return counts


def _labels(report: Report, statistics: Mapping[str, Any], splits: Mapping[str, Mapping[str, int]]) -> None:
    ordered = sorted(_counts(statistics).items(), key=lambda item: (-item[1], item[0]))
    report.section("Labels")
    if statistics["label_numbers"]:
        report.facts({f"label {name}": value for name, value in statistics["label_numbers"].items()})
    if ordered:
        most, least = ordered[0], ordered[-1]
        report.text(f"The largest class, {most[0]}, has {most[1]:,} rows, the smallest, {least[0]}, {least[1]:,}.")
        report.chart(bars(ordered, title="Rows by label"))
    if splits and ordered:
        report.table(
            ["label", *splits], [[label, *(side.get(label, 0) for side in splits.values())] for label, _ in ordered]
        )


def _content(report: Report, statistics: Mapping[str, Any], uri: str) -> None:
    report.section("Inputs")
    histogram: dict[str, int] = statistics["size_histogram"]
    unit = statistics["size_unit"]
    if histogram:
        # A manifest's JSON has its keys sorted as text: 16 before 2.
        edges = sorted(histogram, key=int)
        report.chart(columns(edges, [histogram[edge] for edge in edges], title="Rows by size", x_label=unit))
    report.facts({f"{unit} {name}": value for name, value in statistics["size"].items()})
    if "distinct_inputs" in statistics:
        report.facts(
            {
                "distinct inputs": statistics["distinct_inputs"],
                "rows that repeat an input": statistics["duplicate_rows"],
                "inputs with several labels": statistics["conflicting_inputs"],
                "rows of such inputs": statistics["conflicting_rows"],
            }
        )
    if statistics["bad"]:
        report.section(
            "Quarantine", f"Rows that were set aside, by reason; {uri}/quarantine names file and row of each."
        )
        places = statistics.get("bad_places", {})
        rows = [[reason, count, "; ".join(places.get(reason, []))] for reason, count in statistics["bad"].items()]
        report.table(["reason", "rows", "such as"], rows)
    if statistics["missing"]:
        report.section("Missing values").table(["column", "rows without a value"], list(statistics["missing"].items()))


def _comparison(report: Report, statistics: Mapping[str, Any]) -> None:
    comparison = statistics.get("comparison")
    report.section("Beside the champion's data")
    if not comparison:
        report.text("There is no champion of this name yet, or its dataset is gone.")
        return
    report.facts(
        {
            "champion's dataset": comparison["fingerprint"],
            "rows then": comparison["rows"][0],
            "rows now": comparison["rows"][1],
            "new labels": ", ".join(comparison["new_labels"]) or "none",
            "labels that are gone": ", ".join(comparison["gone_labels"]) or "none",
            "drift of the labels (PSI)": comparison["label_psi"],
            "drift of the labels (Jensen-Shannon, bits)": comparison["label_js"],
            "drift of the inputs' size (PSI)": comparison["size_psi"],
        }
    )
    report.table(["label", "share then", "share now"], [[a, percent(b), percent(c)] for a, b, c in comparison["moved"]])
