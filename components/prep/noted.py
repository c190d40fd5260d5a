"""What was done with a source that its rows do not show: files skipped, quotes read so or so, columns left out, labels
folded. Kept in the manifest (`statistics.reading`), shown in the report and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shipway.components.prep.heads import JSON_LINES, Source
from shipway.components.prep.sources import row_columns
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.tasks.classification import labels

KEPT = 200  # entries of one kind in the manifest
SHOWN = 5  # in a note


def document(sources: list[Source], skipped: Mapping[str, str], spec: DatasetSpec) -> dict[str, Any]:
    """What is known of a source before its rows are read.

    Returns:
        `files`: how many are read. `columns`: of the row files. `skipped`: name -> reason. `quoting`: file -> how its
        quotes are read, where that was a choice. `left_out`: file -> columns whose type is no text. `folded`: see
        `labels.folded_document`. `copies`: files that differ by their compression alone. `unread`: column -> rows, of
        JSON lines.
    """
    return {
        "files": len(sources),
        "columns": row_columns(sources, spec),
        "skipped_files": len(skipped),
        "skipped": dict(list(skipped.items())[:KEPT]),
        "quoting": {source.shown: source.quoting.why for source in sources if source.quoting.why},
        "left_out": {source.shown: list(source.left_out) for source in sources if source.left_out},
        "folded": labels.folded_document({}, spec.fold_labels),
        "copies": _copies(sources),
    }


def _copies(sources: list[Source]) -> list[list[str]]:
    """Files whose names are equal but for a compression: `gzip -k` leaves both."""
    alike: dict[str, list[str]] = {}
    for source in sources:
        alike.setdefault(source.shown.removesuffix(source.compression), []).append(source.shown)
    return [names for names in alike.values() if len(names) > 1][:KEPT]


def with_counted(read: Mapping[str, Any], statistics: Statistics) -> dict[str, Any]:
    """The same with what only the rows show: labels folded and columns unread in this pass, if any was."""
    counted = dict(read)
    if statistics.folded:
        fold = read.get("folded", {}).get("fold_labels", "none")
        counted["folded"] = labels.folded_document(statistics.folded, fold)
    if statistics.unread:
        counted["unread"] = dict(statistics.unread.most_common(KEPT))
    return counted


def notes(read: Mapping[str, Any], statistics: Statistics | None = None) -> list[str]:
    """One line for each thing that a person should know."""
    found = []
    if read.get("skipped"):
        some = "; ".join(f"{name} ({why})" for name, why in list(read["skipped"].items())[:SHOWN])
        more = "; ..." if read["skipped_files"] > SHOWN else ""
        found.append(f"{read['skipped_files']} files of the source are skipped: {some}{more}")
    found += [
        f"{' and '.join(names)} are both read: if one is a copy of the other, its rows count twice"
        for names in read.get("copies", [])[:SHOWN]
    ]
    found += [f"{file}: {why}" for file, why in list(read.get("quoting", {}).items())[:SHOWN]]
    found += [
        f"{file}: columns left out, since their type cannot be written as text: {', '.join(columns)}"
        for file, columns in list(read.get("left_out", {}).items())[:SHOWN]
    ]
    if read.get("unread"):
        some = ", ".join(f"{name!r} ({rows:,} rows)" for name, rows in list(read["unread"].items())[:SHOWN])
        found.append(f"columns left out, since the first {JSON_LINES:,} lines of their file have none of them: {some}")
    folded = read.get("folded", {})
    if folded.get("rows"):
        some = ", ".join(f"{given!a} to {written!r}" for given, written, _ in folded["changes"][:SHOWN])
        found.append(f"fold_labels={folded['fold_labels']} changed the label of {folded['rows']:,} rows: {some}")
    return [*found, *labels.notes(statistics.labels())] if statistics else found
