"""Whether the rows make a dataset to train on, in one line where they do not."""

from __future__ import annotations

from collections.abc import Callable

from shipway.artifacts import SPLITS
from shipway.components.prep.schema import Schema, schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.errors import InvalidData

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
            f"all {statistics.rows:,} rows have the label {_only(labels)}; {_needs(schema)}",
            field=f"label_column {spec.label_column!r}",
        )
    if len(labels) > MANY_LABELS and len(labels) > statistics.rows / 2:
        raise InvalidData(
            f"{len(labels):,} different labels in {statistics.rows:,} rows; is it the right column?",
            field=f"label_column {spec.label_column!r}",
        )


def _only(labels: dict[str, int]) -> str:
    return " or ".join(map(repr, labels)) or "of no class"


def _needs(schema: Schema) -> str:
    least = schema.labels.least_classes
    return f"{schema.task} needs rows of at least {'two' if least == 2 else least}"


def _too_many_bad(statistics: Statistics, spec: DatasetSpec, quarantine_uri: str, locate: Locate) -> str:
    bad = statistics.bad_rows
    kinds = ", ".join(f"{count:,} with {reason}" for reason, count in statistics.bad.most_common(3))
    shown = [(*locate(example.piece, example.row), example) for example in statistics.examples[:3]]
    examples = "; ".join(f"{file} row {row}: {example.reason}" for file, row, example in shown)
    return (
        f"{bad:,} of {statistics.records:,} rows are bad ({bad / statistics.records:.1%}, "
        f"max_bad_fraction allows {spec.max_bad_fraction:.1%}): {kinds}; "
        f"for example {examples}; all of them lie in {quarantine_uri}"
    )


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
            f"all {rows['train']:,} rows of train have the label {_only(train)}; {_needs(schema)}, "
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
