"""Class names as the label column holds them.

Labels that a person would call the same are folded where the spec says so, and named to the person where not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from pydantic import BaseModel

from shipway.artifacts import FeatureSpec
from shipway.characters import BLANK, CONTROL, INVISIBLE, REPLACED, WRONGLY_DECODED, plain_form
from shipway.recipes.arrays import Encoded
from shipway.specs import Spec

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Encoder

Fold = Literal["none", "unicode", "case"]

SHOWN = 10  # pairs in one note
MAX_CHARS = 200
BREAK = r"[\t\n\r\x80-\x9f\u2028\u2029]"
_FORMATS = re.compile(f"[{INVISIBLE}\u200c\u200d]")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,6})?")
# Cyrillic and Greek letters, dashes and quotes that are drawn like characters of ASCII.
_DRAWN_LIKE = str.maketrans(
    "АВЕКМНОРСТУХЅІЈԚԜаеорсухѕіјһԁԛԝӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρ‐‑‒–—―−‘’‛′ʼ`´“”„″",
    "ABEKMHOPCTYXSIJQWaeopcyxsijhdqwlABEZHIKMNOPTYXovp-------'''''''\"\"\"\"",
)
# What tools write for "no value"; a class may be called so, hence it is told and not refused.
MISSING_WORDS = {"null", "none", "n/a", "na", "#n/a", "nil", "undefined", "-", "?"}
# What no class is called: Python's and pandas' marks of a missing value, and a list or object in a cell.
NO_CLASS = r"^(?:[-+]?[nN][aA][nN]|<NA>|NaT|\[\s*(?:[\"'\d\[{-].*)?\]|\{\s*(?:[\"'].*)?\})$"


class Params(Spec):
    """Section `dataset.labels`.

    Attributes:
        fold: Which labels are one class: equal ones (`none`); those equal but for Unicode's forms, invisible
            characters and blanks (`unicode`); those equal in small letters, too (`case`: labels become small letters).
    """

    fold: Fold = "none"


class ClassLabels:
    """Implements `shipway.tasks.base.Labels`."""

    Params: type[BaseModel] = Params
    least_classes = 2

    def read(self, cells: pl.Expr, params: BaseModel) -> tuple[pl.Expr, pl.Expr]:
        """The class's name, folded as `params` say, and why it is none."""
        import polars as pl

        label = folded(cells.str.strip_chars(), cast(Params, params).fold)
        reason = (
            pl.when(label.is_null() | label.str.contains(BLANK))
            .then(pl.lit("empty label"))
            .when(label.str.contains(NO_CLASS))
            .then(pl.lit("label is NaN, a list or an object, not the name of a class"))
            .when(label.str.contains(REPLACED, literal=True))
            .then(pl.lit(WRONGLY_DECODED))
            .when(label.str.contains(CONTROL))
            .then(pl.lit("control character"))
            .when(label.str.contains(BREAK))
            .then(pl.lit("line break, tab or control character in the label"))
            .when(label.str.len_chars() > MAX_CHARS)
            .then(pl.lit(f"label longer than {MAX_CHARS} characters"))
            .otherwise(None)
        )
        return label, reason

    def classes(self, labels: pl.Series) -> pl.Series:
        return labels.reshape((-1, 1)).arr.to_list()

    def notes(self, counts: Mapping[str, int]) -> list[str]:
        return notes(counts)

    def targets(self, encoder: Encoder) -> dict[str, FeatureSpec]:
        """`label`: the class id."""
        return {"label": FeatureSpec(dtype="int64", shape=[])}

    def encode(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any], encoded: Encoded) -> Encoded:
        ids = {label: number for number, label in enumerate(encoder.labels)}
        return {"label": np.fromiter(map(ids.__getitem__, labels), np.int64, len(labels))}


def folded(label: pl.Expr, fold: Fold) -> pl.Expr:
    """The label as `fold` writes it."""
    if fold == "none":
        return label
    plain = label.str.normalize("NFC").str.replace_all(f"[{INVISIBLE}]", "").str.replace_all(r"\s+", " ")
    plain = plain.str.strip_chars()
    return plain.str.to_lowercase().str.normalize("NFC") if fold == "case" else plain


def notes(counts: Mapping[str, int]) -> list[str]:
    """What a person should know of the labels, with their rows."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        alike[_look(label)].append(label)
    pairs = [
        (names[0], other)
        for names in (sorted(names, key=lambda n: (-counts[n], n)) for names in alike.values())
        for other in names[1:]
    ]
    sentences = []
    if pairs:
        told = "; ".join(_pair(first, other, counts) for first, other in pairs[:SHOWN])
        more = f"; and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        sentences.append(f"{len(pairs)} pairs of labels look alike and are classes of their own: {told}{more}")
    missing = [f"{label!r} ({counts[label]:,} rows)" for label in counts if label.lower() in MISSING_WORDS]
    if missing:
        sentences.append(
            f"labels that tools write for a missing value are kept as classes: {', '.join(missing[:SHOWN])}"
        )
    return sentences


def _pair(first: str, other: str, counts: Mapping[str, int]) -> str:
    show = ascii if first.isascii() is False or other.isascii() is False else repr
    return f"{show(first)} ({counts[first]:,} rows) and {show(other)} ({counts[other]:,}): {_why(first, other)}"


def _why(first: str, other: str) -> str:
    """How the two differ, and what makes them one."""
    if plain_form(first) == plain_form(other):
        return "the same but for Unicode's form, blanks or invisible characters; labels.fold=unicode makes them one"
    if plain_form(first).lower() == plain_form(other).lower():
        return "the same but for capital letters; labels.fold=case makes them one"
    if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(other):
        return "the same number; write one of them in the source"
    return "the same to the eye; write one of them in the source"


def _look(label: str) -> str:
    """Equal for labels that look alike: drawn alike, one number, or equal but for capitals and invisible characters."""
    plain = unicodedata.normalize("NFKC", label.translate(_DRAWN_LIKE))
    plain = " ".join(_FORMATS.sub("", plain).translate(_DRAWN_LIKE).casefold().split())
    return _number(plain) if _NUMBER.fullmatch(plain) else unicodedata.normalize("NFKC", plain)


def _number(text: str) -> str:
    """Equal for equal numbers, of any length: digits without zeros at their ends, and their power of ten."""
    sign, digits, power = Decimal(text).as_tuple()
    body = "".join(map(str, digits)).lstrip("0")
    short = body.rstrip("0")
    return f"{'-' * sign}{short}e{int(power) + len(body) - len(short)}" if short else "0"
