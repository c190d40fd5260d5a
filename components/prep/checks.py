"""What makes a row bad, and its reason as a person reads it in the quarantine."""

from __future__ import annotations

import polars as pl

from shipway.components.prep.columns import USER, given
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from shipway.inputs.text import BLANK, CONTROL
from shipway.tasks.classification.labels import NO_CLASS, folded

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
    """The columns by what they mean: `text`, `label`, `group`, `split` (as given, or null), then all others.

    The others have the names that `columns.given` says. Where labels are folded, `_label` is the one given.
    """
    roles = {
        "text": spec.text_column,
        "label": spec.label_column,
        "group": spec.group_column,
        "split": spec.split_column,
    }
    used = [source for source in roles.values() if source]
    mine = {source: f"{USER}{source}" if f"{USER}{source}" in frame.columns else source for source in used}
    twice = mine[spec.label_column] if spec.group_column == spec.label_column else ""
    chosen = [
        (pl.col(mine[source]) if source else pl.lit(None, dtype=pl.String)).alias(role)
        for role, source in roles.items()
    ]
    others = [
        pl.col(name).alias(given(name))
        for name in frame.columns
        if not name.startswith("_") and (name not in mine.values() or name == twice)
    ]
    internal = [pl.col(name) for name in frame.columns if name.startswith("_")]
    out = frame.select(*chosen, *others, *internal)
    out = out.with_columns(pl.col("label").str.strip_chars(), pl.col("group").str.strip_chars())
    if spec.fold_labels == "none":
        return out
    return out.with_columns(folded(pl.col("label"), spec.fold_labels), pl.col("label").alias("_label"))


def reasons(spec: DatasetSpec) -> pl.Expr:
    """Why a row is bad, null for a good one; the first reason wins."""
    text, label, group = pl.col("text"), pl.col("label"), pl.col("group")
    empty_group = (group.is_null() | (group == "")) if spec.group_column else pl.lit(False)
    return (
        pl.when(text.is_null() | text.str.contains(BLANK))
        .then(pl.lit("empty text"))
        .when(label.is_null() | label.str.contains(BLANK))
        .then(pl.lit("empty label"))
        .when(label.str.contains(NO_CLASS))
        .then(pl.lit("label is NaN, a list or an object, not the name of a class"))
        .when(empty_group)
        .then(pl.lit("empty group"))
        .when(text.str.contains("\ufffd", literal=True) | label.str.contains("\ufffd", literal=True))
        .then(pl.lit("replacement character U+FFFD: decoded wrongly before it came here"))
        .when(text.str.contains(CONTROL) | label.str.contains(CONTROL))
        .then(pl.lit("control character"))
        .when(label.str.contains(BREAK))
        .then(pl.lit("line break, tab or control character in the label"))
        .when(label.str.len_chars() > MAX_LABEL_CHARS)
        .then(pl.lit(f"label longer than {MAX_LABEL_CHARS} characters"))
        .when(text.str.len_chars() > spec.max_text_chars)
        .then(pl.lit(f"text longer than {spec.max_text_chars} characters"))
        .otherwise(None)
        .alias("_reason")
    )


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
            f"split_column {spec.split_column!r}: {given!r} is no split; expected train, eval (val, valid, validation, "
            "dev) or test"
        )
    return out.with_columns(pl.col("_side").alias("split")).drop("_side")
