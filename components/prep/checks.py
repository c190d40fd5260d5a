"""What makes a row bad, and its reason as a person reads it in the quarantine."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from shipway.components.prep.columns import USER, outgoing
from shipway.components.prep.schema import Schema, schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from shipway.tasks.base import ChecksInputs

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "eval": "eval",
    "evaluation": "eval",
    "val": "eval",
    "valid": "eval",
    "validation": "eval",
    "dev": "eval",
    "test": "test",
    "testing": "test",
}


def with_roles(frame: pl.DataFrame, spec: DatasetSpec) -> pl.DataFrame:
    """The columns by what they mean: the input's, `label`, `group`, `split` (as given, or null), then all others.

    The others have the names that `columns.outgoing` says.
    """
    schema = schema_of(spec)
    roles = {**schema.sources, "label": spec.label_column, "group": spec.group_column, "split": spec.split_column}
    mine = {role: f"{USER}{source}" for role, source in roles.items() if source}
    twice = mine["label"] if spec.group_column == spec.label_column else ""
    chosen = [(pl.col(mine[role]) if role in mine else pl.lit(None, dtype=pl.String)).alias(role) for role in roles]
    others = [
        pl.col(name).alias(outgoing(name.removeprefix(USER), schema.names))
        for name in frame.columns
        if not name.startswith("_") and (name not in mine.values() or name == twice)
    ]
    internal = [pl.col(name) for name in frame.columns if name.startswith("_")]
    return frame.select(*chosen, *others, *internal).with_columns(pl.col("group").str.strip_chars())


def judged(roles: pl.DataFrame, spec: DatasetSpec) -> pl.DataFrame:
    """The rows with their labels in the task's one form, `_label` as given, and `_reason`: why a row is bad, or null.

    The first reason counts: the input's, the label's, the group's, that label and input do not fit each other.
    """
    schema = schema_of(spec)
    label, reason = schema.labels.read(pl.col("label"), schema.reading)
    reasons = [schema.kind.reason(schema.input), reason]
    if spec.group_column:
        group = pl.col("group")
        reasons.append(pl.when(group.is_null() | (group == "")).then(pl.lit("empty group")))
    given_label = pl.col("label").str.strip_chars().alias("_label")
    rows = roles.with_columns(label.alias("label"), given_label, pl.coalesce(reasons).alias("_reason"))
    return _fitting(rows, schema) if isinstance(schema.labels, ChecksInputs) else rows


def _fitting(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    reasons = rows.get_column("_reason")
    places = reasons.is_null().arg_true()
    good = rows[places]
    assert isinstance(schema.labels, ChecksInputs)
    labels, misfits = schema.labels.fitted(good.get_column("label"), schema.kind.values(good))
    fitting = rows.get_column("label").scatter(places, labels)
    return rows.with_columns(fitting, reasons.scatter(places, misfits))


def as_json(frame: pl.DataFrame, columns: Iterable[str]) -> pl.Expr:
    """Rows as JSON for the quarantine; of bytes only how many."""
    cells = [
        pl.format("{} bytes", pl.col(name).bin.size()).alias(name) if frame.schema[name] == pl.Binary else pl.col(name)
        for name in columns
    ]
    return pl.struct(cells).struct.json_encode()


def given_splits(frame: pl.DataFrame, spec: DatasetSpec) -> pl.DataFrame:
    """The given split column in our three words.

    Raises:
        InvalidData: another word stands there; names it and what is allowed.
    """
    words = pl.col("split").str.strip_chars().str.to_lowercase()
    out = frame.with_columns(words.replace_strict(SPLIT_NAMES, default=None, return_dtype=pl.String).alias("_side"))
    unknown = out.filter(pl.col("_side").is_null())
    if len(unknown):
        given = unknown.get_column("split")[0] or ""
        raise InvalidData(
            f"{given!r} is no split",
            field=f"split_column {spec.split_column!r}",
            given=given,
            allowed="train, eval (val, valid, validation, dev) or test",
        )
    return out.with_columns(pl.col("_side").alias("split")).drop("_side")
