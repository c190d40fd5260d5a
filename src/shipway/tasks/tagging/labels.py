"""Tags as the label column holds them: a JSON list of names, or names with a character between them.

Rows keep them as a JSON list, sorted, each name once: one text for one set of tags.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from pydantic import BaseModel, Field

from shipway.artifacts import FeatureSpec
from shipway.characters import BLANK, CONTROL, REPLACED, WRONGLY_DECODED, plain_form
from shipway.recipes.arrays import Encoded
from shipway.specs import Spec
from shipway.tasks.classification.labels import BREAK, MAX_CHARS, Fold, notes

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Encoder

_BLANK = re.compile(BLANK)
_BREAK = re.compile(rf"{CONTROL}|{BREAK}|[\ud800-\udfff]")  # with halves of a character that JSON may escape


class Params(Spec):
    """Section `dataset.labels`.

    Attributes:
        separator: Between the names of a cell. A cell that begins with "[" is read as a JSON list of names instead.
        allow_none: An empty cell or list is a row without any tag; otherwise it is a bad row.
        fold: Which names are one tag, as for `classification`: `none`, `unicode` or `case`.
    """

    separator: Annotated[str, Field(min_length=1, max_length=10)] = "|"
    allow_none: bool = False
    fold: Fold = "none"


class TagLabels:
    """Implements `shipway.tasks.base.Labels` and `TellsChanges`."""

    Params: type[BaseModel] = Params
    least_classes = 1
    takes_lists = True

    def read(self, cells: pl.Expr, params: BaseModel) -> tuple[pl.Expr, pl.Expr]:
        """The tags as a JSON list, and why a cell holds none."""
        import polars as pl

        given = cast(Params, params)

        def read_all(part: int) -> pl.Expr:
            return cells.map_batches(
                lambda column: pl.Series(
                    column.name,
                    [read_cell(cell, given.separator, given.allow_none, given.fold)[part] for cell in column],
                    dtype=pl.String,
                ),
                return_dtype=pl.String,
                is_elementwise=True,
            )

        return read_all(0), read_all(1)

    def classes(self, labels: pl.Series) -> pl.Series:
        return tags_of(labels)

    def is_changed(self, given: pl.Series, labels: pl.Series) -> pl.Series:
        """Whether some tag is written otherwise in its cell: folded, or escaped."""
        import polars as pl

        pairs = zip(given, tags_of(labels), strict=True)
        return pl.Series([any(tag not in cell for tag in tags) for cell, tags in pairs], dtype=pl.Boolean)

    def notes(self, counts: Mapping[str, int]) -> list[str]:
        return notes(counts)

    def targets(self, encoder: Encoder) -> dict[str, FeatureSpec]:
        """`label`: 1 for each tag of the row, else 0."""
        return {"label": FeatureSpec(dtype="float32", shape=[len(encoder.labels)])}

    def encode(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any], encoded: Encoded) -> Encoded:
        ids = {tag: number for number, tag in enumerate(encoder.labels)}
        hot = np.zeros((len(labels), len(ids)), dtype=np.float32)
        for row, label in enumerate(labels):
            hot[row, [ids[tag] for tag in json.loads(label)]] = 1
        return {"label": hot}


def tags_of(labels: pl.Series) -> pl.Series:
    """The tags of each label, list of strings a row."""
    import polars as pl

    return labels.str.json_decode(pl.List(pl.String))


def canonical(tags: Iterable[str]) -> str:
    """The one text of a set of tags."""
    return json.dumps(sorted(set(tags)), ensure_ascii=False)


@lru_cache(maxsize=1 << 16)  # most cells stand in many rows
def read_cell(cell: str | None, separator: str, allow_none: bool, fold: Fold) -> tuple[str | None, str | None]:
    """A cell's tags in their one text, or why it holds none; the other is None."""
    text = (cell or "").strip()
    if text.startswith("["):
        names = _names(text)
        if names is None:
            return None, 'label begins with "[" and is no JSON list of names'
    else:
        names = [] if _BLANK.match(text) else text.split(separator)
    tags = [_folded(name.strip(), fold) for name in names]
    if not tags and not allow_none:
        return None, "no tag (dataset.labels.allow_none takes such rows)"
    reason = next((why for why in map(_reason, tags) if why), None)
    return (None, reason) if reason else (canonical(tags), None)


def _names(text: str) -> list[str] | None:
    """The names of a JSON list; None where the text is none."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _reason(tag: str) -> str | None:
    if _BLANK.match(tag):
        return "empty tag"
    if REPLACED in tag:
        return WRONGLY_DECODED
    if _BREAK.search(tag):
        return "line break, tab or control character in a tag"
    return f"tag longer than {MAX_CHARS} characters" if len(tag) > MAX_CHARS else None


def _folded(tag: str, fold: Fold) -> str:
    plain = tag if fold == "none" else plain_form(tag)
    return unicodedata.normalize("NFC", plain.lower()) if fold == "case" else plain
