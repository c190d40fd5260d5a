"""Whether the rows make a dataset to train on, in one line where they do not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable

from shipway.artifacts import SPLITS
from shipway.components.prep.schema import Schema, schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.errors import InvalidData
from shipway.inputs.base import FileColumn

MANY_LABELS = 20_000

Locate = Callable[[int, int], tuple[str, int]]  # (piece, row) -> (file, row of the file)


def check_rows(statistics: Statistics, spec: DatasetSpec, quarantine_uri: str, locate: Locate) -> None:
    """Refuses a dataset without rows, with too many bad ones, or with classes that are none.

    Raises:
        InvalidData: names counts, examples and where the quarantine lies.
    """
    if not statistics.records:
        raise InvalidData(f"{spec.data!r} has a header but no rows", field="data", given=spec.data)
    if statistics.bad_rows > spec.max_bad_fraction * statistics.records:
        raise InvalidData(_too_many_bad(statistics, spec, quarantine_uri, locate), field="data")
    if not statistics.rows:
        raise InvalidData(
            f"none of {statistics.records:,} rows is good; all of them lie in {quarantine_uri}", field="data"
        )
    labels, schema = statistics.classes(), schema_of(spec)
    if len(labels) < schema.labels.least_classes:
        raise InvalidData(
            f"{_alike(statistics.rows, '', labels)}; {_needs(schema)}{_folder_hint(locate(0, 0)[0], schema)}",
            field=f"label_column {spec.label_column!r}",
        )
    if len(labels) > MANY_LABELS and len(labels) > statistics.rows / 2:
        raise InvalidData(
            f"{len(labels):,} different labels in {statistics.rows:,} rows; is it the right column?",
            field=f"label_column {spec.label_column!r}",
        )


def _alike(rows: int, where: str, labels: dict[str, int]) -> str:
    if not labels:
        return f"no label of the {rows:,} rows{where} names anything"
    return f"all {rows:,} rows{where} have the label {' or '.join(map(repr, labels))}"


def _folder_hint(file: str, schema: Schema) -> str:
    if schema.files is None or not file.endswith("/"):
        return ""
    return "; in a folder without tables a file's label is the name of the folder that it lies in"


def _needs(schema: Schema) -> str:
    least = schema.labels.least_classes
    return f"{schema.task} needs rows of at least {('one', 'two')[least - 1] if least in (1, 2) else least}"


def _too_many_bad(statistics: Statistics, spec: DatasetSpec, quarantine_uri: str, locate: Locate) -> str:
    bad, places = statistics.bad_rows, bad_places(statistics, spec, locate)
    kinds = [
        f"{count:,} with {reason}{_such_as(places.get(reason, []), count)}"
        for reason, count in statistics.bad.most_common(3)
    ]
    return (
        f"{bad:,} of {statistics.records:,} rows are bad ({bad / statistics.records:.1%}, "
        f"max_bad_fraction allows {spec.max_bad_fraction:.1%}): {', '.join(kinds)}; all of them lie in {quarantine_uri}"
    )


def _such_as(places: list[str], count: int) -> str:
    shown = "; ".join(places)
    return f" ({'for example ' if count > len(places) else ''}{shown})" if shown else ""


def bad_places(statistics: Statistics, spec: DatasetSpec, locate: Locate) -> dict[str, list[str]]:
    """Reason -> where some of its bad rows stand, as a person reads it."""
    files = schema_of(spec).files
    places: dict[str, list[str]] = defaultdict(list)
    for example in statistics.examples:
        places[example.reason].append(_place(*locate(example.piece, example.row), example.raw, files))
    return dict(places)


def _place(file: str, row: int, raw: str, files: FileColumn | None) -> str:
    """Where a bad row stands; of one that names a file, which one: a folder has no rows to count."""
    name = _file_of(raw, files.path_column) if files else ""
    if not name:
        return f"{file} row {row}"
    return f"{file}{name}" if file.endswith("/") else f"{file} row {row} ({name})"


def _file_of(raw: str, column: str) -> str:
    """The file that a bad row names, which is all that is kept of one that is not there."""
    if not raw.startswith("{"):
        return raw
    try:
        row = json.loads(raw)
    except ValueError:  # it was cut
        return ""
    return str(row.get(column) or row.get(f"source_{column}") or "")


def check_sides(statistics: Statistics, spec: DatasetSpec) -> list[str]:
    """Refuses a split whose training side cannot teach what the others ask.

    Returns:
        What a person should know although it is no error.

    Raises:
        InvalidData: a side that was asked for has no rows, or a label of eval or test has none in train.
    """
    train, schema = statistics.classes("train"), schema_of(spec)
    how = f"split_column {spec.split_column!r}" if spec.split_column else "split by group hash"
    rows = statistics.split_rows()
    empty = _check_filled(rows, spec, how)
    if len(train) < schema.labels.least_classes:
        raise InvalidData(
            f"{_alike(rows['train'], ' of train', train)}; {_needs(schema)}, "
            f"and the others stand in eval or test alone: {_more_labels(spec)}",
            field=how,
        )
    notes = [f"{split} has no rows, as its fraction says" for split in empty]
    for split in ("test", "eval") if schema.has_classes else ():
        if split in empty:
            continue
        labels = statistics.classes(split)
        unseen = {label: count for label, count in labels.items() if label not in train}
        if unseen and spec.unseen_labels == "error":
            raise _unseen(how, split, unseen, spec)
        if labels and len(unseen) == len(labels):
            raise InvalidData(
                f"train has no row of any label of {split} ({', '.join(map(repr, list(unseen)[:5]))}), "
                f"so that {split} measures nothing: {_more_labels(spec)}",
                field=how,
            )
        if unseen:
            what = "count as wrong answers" if spec.unseen_labels == "count" else "were left out"
            some = ", ".join(list(unseen)[:10]) + (", ..." if len(unseen) > 10 else "")
            several = "up to " if sum(labels.values()) != rows[split] else ""  # a row may name several
            notes.append(
                f"{several}{min(sum(unseen.values()), rows[split]):,} of {rows[split]:,} rows of {split} have labels "
                f"without training rows and {what}: {some}"
            )
        lacking = [label for label in train if label not in labels]
        if lacking:
            some = ", ".join(lacking[:10]) + (", ..." if len(lacking) > 10 else "")
            notes.append(f"{len(lacking)} of {len(train)} labels have no row in {split}: {some}")
    return notes


def _check_filled(rows: dict[str, int], spec: DatasetSpec, how: str) -> list[str]:
    """The sides that are empty because their fraction is 0; any other empty side is refused."""
    wanted = {"eval": spec.eval_fraction > 0, "test": spec.test_fraction > 0}
    empty = [split for split in SPLITS if not rows[split]]
    for split in empty:
        if spec.split_column or wanted.get(split, True):
            counts = ", ".join(f"{count:,} in {name}" for name, count in rows.items() if count)
            words = {"train": "'train'", "eval": "'eval' ('val', 'dev')", "test": "'test'"}
            mend = f"name some rows {words[split]}" if spec.split_column else _more(split, spec)
            raise InvalidData(f"no row stands in {split} ({counts}); {mend}", field=how)
    return empty


def _more(split: str, spec: DatasetSpec) -> str:
    other = f"try another seed than {spec.seed}"
    if split == "train":
        return other
    fraction = spec.eval_fraction if split == "eval" else spec.test_fraction
    return f"give more groups, raise {split}_fraction above {fraction:g}, or {other}"


def _more_labels(spec: DatasetSpec) -> str:
    if spec.split_column:
        return "give train rows of them"
    return f"give more groups, try another seed than {spec.seed}, or name a split_column"


def _unseen(how: str, split: str, unseen: dict[str, int], spec: DatasetSpec) -> InvalidData:
    shown = ", ".join(f"{label!r} ({count:,} rows)" for label, count in list(unseen.items())[:5])
    return InvalidData(
        f"{len(unseen)} label(s) of {split} have no row in train: {shown}",
        field=how,
        fix=f"{_more_labels(spec)}, or set overrides.dataset.on_unseen_label (of a dataset spec: on_unseen_label) to "
        "count, which scores those rows as wrong, or to quarantine, which leaves them out",
    )
