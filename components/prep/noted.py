"""What was done with a source that its rows do not show: files skipped, quotes read so or so, columns left out, labels
written otherwise. Kept in the manifest (`statistics.reading`), shown in the report and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipway.components.prep.checks import SPLIT_NAMES
from shipway.components.prep.heads import JSON_LINES, Source
from shipway.components.prep.schema import schema_of
from shipway.components.prep.sources import row_columns
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics

KEPT = 200  # entries of one kind in the manifest
SHOWN = 5  # in a note
CHANGES = 20


def document(sources: list[Source], skipped: Mapping[str, str], spec: DatasetSpec) -> dict[str, Any]:
    """What is known of a source before its rows are read.

    Returns:
        `files`: how many are read. `columns`: of the row files. `skipped`: name -> reason. `quoting`: file -> how its
        quotes are read, where that was a choice. `left_out`: file -> columns whose type is no text. `labels`: what the
        spec says of reading them, the rows whose label is written otherwise than given, and the commonest such changes
        as [given, written, rows]. `copies`: files that differ by their compression alone. `sides`: files or folders
        that are called as splits are, and are not taken for these. `unread`: column -> rows, of JSON lines.
    """
    return {
        "files": len(sources),
        "columns": row_columns(sources, spec),
        "skipped_files": len(skipped),
        "skipped": dict(list(skipped.items())[:KEPT]),
        "quoting": {source.shown: source.quoting.why for source in sources if source.quoting.why},
        "left_out": {source.shown: list(source.left_out) for source in sources if source.left_out},
        "labels": {"how": _labels_read(spec), "rows": 0, "changes": []},
        "copies": _copies(sources),
        "sides": _sides(sources, spec),
    }


def _labels_read(spec: DatasetSpec) -> str:
    given = schema_of(spec).reading.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{name}={value}" for name, value in given.items())


def _copies(sources: list[Source]) -> list[list[str]]:
    """Files whose names are equal but for a compression: `gzip -k` leaves both."""
    alike: dict[str, list[str]] = {}
    for source in sources:
        alike.setdefault(source.shown.removesuffix(source.compression), []).append(source.shown)
    return [names for names in alike.values() if len(names) > 1][:KEPT]


def _sides(sources: list[Source], spec: DatasetSpec) -> list[str]:
    """Names of files or folders that look like a split, where no column says that they are one."""
    names = [top for source in sources for top in source.tops]
    names += [Path(source.shown).name.partition(".")[0] for source in sources if not source.tops]
    is_split = len(names) > 1 and not spec.split_column and {name.lower() for name in names} <= {*SPLIT_NAMES}
    return sorted(names) if is_split else []


def with_counted(read: Mapping[str, Any], statistics: Statistics) -> dict[str, Any]:
    """The same with what only the rows show: labels changed and columns unread in this pass, if any was."""
    counted = dict(read)
    if statistics.relabelled:
        commonest = sorted(statistics.changes.items(), key=lambda change: (-change[1], change[0]))[:CHANGES]
        changes = [[given, written, rows] for (given, written), rows in commonest]
        counted["labels"] = {**read["labels"], "rows": statistics.relabelled, "changes": changes}
    if statistics.unread:
        counted["unread"] = dict(statistics.unread.most_common(KEPT))
    return counted


def notes(read: Mapping[str, Any]) -> list[str]:
    """One line for each thing that a person should know."""
    sentences = []
    if read.get("skipped"):
        some = "; ".join(f"{name} ({why})" for name, why in list(read["skipped"].items())[:SHOWN])
        more = "; ..." if read["skipped_files"] > SHOWN else ""
        sentences.append(f"{read['skipped_files']} files of the source are skipped: {some}{more}")
    sentences += [
        f"{' and '.join(names)} are both read: if one is a copy of the other, its rows count twice"
        for names in read.get("copies", [])[:SHOWN]
    ]
    if read.get("sides"):
        column = next((name for name in ("folder", "file") if name in read["columns"]), None)
        named = f"split_column={column}" if column else "a column with these words, named by split_column,"
        sentences.append(
            f"rows of {', '.join(read['sides'])} are put together and split anew; {named} keeps them apart"
        )
    sentences += [f"{file}: {why}" for file, why in list(read.get("quoting", {}).items())[:SHOWN]]
    sentences += [
        f"{file}: columns left out, since their type cannot be written as text: {', '.join(columns)}"
        for file, columns in list(read.get("left_out", {}).items())[:SHOWN]
    ]
    if read.get("unread"):
        some = ", ".join(f"{name!r} ({rows:,} rows)" for name, rows in list(read["unread"].items())[:SHOWN])
        sentences.append(
            f"columns left out, since the first {JSON_LINES:,} lines of their file have none of them: {some}"
        )
    labels = read.get("labels", {})
    if labels.get("rows"):
        some = ", ".join(f"{given!a} to {written!r}" for given, written, _ in labels["changes"][:SHOWN])
        how = f" (labels.{labels['how']})" if labels["how"] else ""
        sentences.append(f"reading the labels{how} changed those of {labels['rows']:,} rows: {some}")
    return sentences
