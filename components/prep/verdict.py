"""Whether the rows make a dataset to train on, in one line where they do not."""

from __future__ import annotations

from collections.abc import Callable

from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.errors import InvalidData

MANY_LABELS = 20_000

Locate = Callable[[int, int], tuple[str, int]]  # (piece, row) -> (file, row of the file)


def check_rows(statistics: Statistics, spec: DatasetSpec, quarantine_uri: str, locate: Locate) -> None:
    """Refuses a dataset without rows, with too many bad ones, or with labels that are none.

    Raises:
        InvalidData: names counts, examples and where the quarantine lies.
    """
    if not statistics.records:
        raise InvalidData(f"data: {spec.data!r} has a header but no rows")
    if statistics.bad_rows > spec.max_bad_fraction * statistics.records:
        raise InvalidData(_too_many_bad(statistics, spec, quarantine_uri, locate))
    labels = statistics.labels()
    if not labels:
        raise InvalidData(f"data: none of {statistics.records:,} rows is good; all of them lie in {quarantine_uri}")
    if len(labels) < 2:
        only = next(iter(labels), "")
        raise InvalidData(
            f"label_column {spec.label_column!r}: all {statistics.rows:,} rows have the label {only!r}; a classifier "
            "needs at least two"
        )
    if len(labels) > MANY_LABELS and len(labels) > statistics.rows / 2:
        raise InvalidData(
            f"label_column {spec.label_column!r}: {len(labels):,} different labels in {statistics.rows:,} rows; "
            "is it the right column?"
        )


def _too_many_bad(statistics: Statistics, spec: DatasetSpec, quarantine_uri: str, locate: Locate) -> str:
    bad = statistics.bad_rows
    kinds = ", ".join(f"{count:,} with {reason}" for reason, count in statistics.bad.most_common(3))
    shown = [(*locate(example.piece, example.row), example) for example in statistics.examples[:3]]
    examples = "; ".join(f"{file} row {row}: {example.reason}" for file, row, example in shown)
    return (
        f"data: {bad:,} of {statistics.records:,} rows are bad ({bad / statistics.records:.1%}, "
        f"max_bad_fraction allows {spec.max_bad_fraction:.1%}): {kinds}; "
        f"for example {examples}; all of them lie in {quarantine_uri}"
    )


def check_sides(statistics: Statistics, spec: DatasetSpec) -> list[str]:
    """Refuses a split whose training side cannot teach what the others ask.

    Returns:
        What a person should know although it is no error.

    Raises:
        InvalidData: train has no rows, or a label of eval or test has none there.
    """
    train = statistics.labels("train")
    rows = statistics.split_rows()
    how = f"split_column {spec.split_column!r}" if spec.split_column else "split by group hash"
    if not rows["train"]:
        raise InvalidData(
            f"{how}: no row stands in train ({rows['eval']:,} in eval, {rows['test']:,} in test); "
            + ("name the training rows 'train'" if spec.split_column else f"try another seed than {spec.seed}")
        )
    notes = []
    for split in ("test", "eval"):
        if not rows[split]:
            notes.append(f"{split} has no rows")
            continue
        labels = statistics.labels(split)
        unseen = {label: count for label, count in labels.items() if label not in train}
        if unseen and spec.on_unseen_label == "error":
            raise InvalidData(_unseen(how, split, unseen, spec))
        if unseen:
            notes.append(f"rows of labels without training rows were set aside from {split}: {', '.join(unseen)}")
        lacking = [label for label in train if label not in labels]
        if lacking:
            some = ", ".join(lacking[:10]) + (", ..." if len(lacking) > 10 else "")
            notes.append(f"{len(lacking)} of {len(train)} labels have no row in {split}: {some}")
    return notes


def _unseen(how: str, split: str, unseen: dict[str, int], spec: DatasetSpec) -> str:
    shown = ", ".join(f"{label!r} ({count:,} rows)" for label, count in list(unseen.items())[:5])
    mend = (
        "give it rows in train"
        if spec.split_column
        else f"give it more groups, try another seed than {spec.seed}, or name a split_column"
    )
    return (
        f"{how}: {len(unseen)} label(s) of {split} have no row in train: {shown}; {mend}, or set "
        "on_unseen_label=quarantine to leave those rows out"
    )
