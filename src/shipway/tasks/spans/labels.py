"""The label column: JSON lists of spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from shipway.artifacts import FeatureSpec
from shipway.characters import plain_form
from shipway.recipes.arrays import Encoded
from shipway.specs import Spec
from shipway.tasks.spans.files import FORMATS
from shipway.tasks.spans.spans import BEHIND, BadSpans, parse, read_spans, write_spans
from shipway.tasks.spans.tags import SpanEncoder, targets

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Encoder

SHOWN = 10  # pairs in one note


class Params(Spec):
    """Section `dataset.labels`: nothing to choose."""


class SpanLabels:
    """Implements `shipway.tasks.base.Labels`, `ChecksInputs`, `BringsFormats` and `TakesLists`."""

    Params: type[BaseModel] = Params
    least_classes = 1
    formats = FORMATS
    takes_lists = True

    def read(self, cells: pl.Expr, params: BaseModel) -> tuple[pl.Expr, pl.Expr]:
        """A sorted JSON list of [start, end, type], and why a cell is none."""
        import polars as pl

        found = cells.map_batches(
            _read, return_dtype=pl.Struct({"label": pl.String, "reason": pl.String}), is_elementwise=True
        )
        return found.struct.field("label"), found.struct.field("reason")

    def misfits(self, labels: pl.Series, values: Sequence[Any]) -> pl.Series:
        """A span must lie within its text."""
        import polars as pl

        reasons = [BEHIND if _end(label) > len(text) else None for label, text in zip(labels, values, strict=True)]
        return pl.Series("reason", reasons, dtype=pl.String)

    def classes(self, labels: pl.Series) -> pl.Series:
        """The types that each label names, sorted."""
        import polars as pl

        named = [sorted({span.type for span in parse(label)}) for label in labels]
        return pl.Series(labels.name, named, dtype=pl.List(pl.String))

    def notes(self, counts: Mapping[str, int]) -> list[str]:
        """Types that differ by capitals, blanks or invisible characters alone."""
        alike: dict[str, list[str]] = defaultdict(list)
        for name in counts:
            alike[plain_form(name).casefold()].append(name)
        pairs = [
            f"{names[0]!r} ({counts[names[0]]:,} rows) and {other!r} ({counts[other]:,})"
            for names in (sorted(names, key=lambda name: (-counts[name], name)) for names in alike.values())
            for other in names[1:]
        ]
        more = f"; and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        told = f"{len(pairs)} pairs of types look alike and are types of their own: {'; '.join(pairs[:SHOWN])}{more}"
        return [f"{told}; write one of them in the source"] if pairs else []

    def targets(self, encoder: Encoder) -> dict[str, FeatureSpec]:
        """`label`: a tag for each token."""
        return {"label": FeatureSpec(dtype="int64", shape=[None])}

    def encode(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any], encoded: Encoded) -> Encoded:
        return {"label": targets(cast(SpanEncoder, encoder), [parse(label) for label in labels], values, encoded)}


def _read(cells: pl.Series) -> pl.Series:
    import polars as pl

    rows = [_judged(cell) for cell in cells.to_list()]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(("label", "reason"))}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).to_struct(cells.name)


def _judged(cell: str | None) -> tuple[str | None, str | None]:
    if cell is None or not cell.strip():
        return cell, "empty label; a row without spans has []"
    try:
        return write_spans(read_spans(cell)), None
    except BadSpans as error:
        return cell, str(error)


def _end(label: str) -> int:
    return max((span.end for span in parse(label)), default=0)
