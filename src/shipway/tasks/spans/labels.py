"""The label column: JSON lists of spans."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from shipway.artifacts import FeatureSpec
from shipway.characters import FORMAT_CHARACTERS, plain_form
from shipway.recipes.arrays import Encoded
from shipway.specs import Spec
from shipway.tasks.spans.files import FORMATS
from shipway.tasks.spans.spans import BEHIND, BLANKS, BadSpans, Span, parse, read_spans, write_spans
from shipway.tasks.spans.tags import SpanEncoder, targets

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Encoder

SHOWN = 10  # pairs in one note
# Blanks and format characters, which stand in no token where they stand at its ends.
_NOT_SEEN = f"[\\s{FORMAT_CHARACTERS}]"
_UNSEEN, _BEGIN, _END = re.compile(f"{_NOT_SEEN}*"), re.compile(f"^{_NOT_SEEN}+"), re.compile(f"{_NOT_SEEN}+$")
_UNSEEN_END = re.compile(f"^{_NOT_SEEN}|{_NOT_SEEN}$")
NOT_WHOLE = (
    "a span that begins or ends within a word: a model answers whole ones, so that no answer has its bounds "
    "(places are Unicode code points from 0, the end exclusive)"
)
NOT_READ = "a span behind the last word that the encoder reads, so that none finds it (its max_words)"


class Params(Spec):
    """Section `dataset.labels`: nothing to choose."""


class SpanLabels:
    """Implements `shipway.tasks.base.Labels`, and of it `BringsFormats`, `ChecksInputs`, `TakesLists`, `TellsChanges`
    and `TellsUnanswerable`."""

    Params: type[BaseModel] = Params
    least_classes = 1
    formats = FORMATS
    takes_lists = True

    def read(self, cells: pl.Expr, params: BaseModel) -> tuple[pl.Expr, pl.Expr]:
        """A sorted JSON list of [start, end, type], and why a cell is none."""
        import polars as pl

        checked_cells = cells.map_batches(
            _read, return_dtype=pl.Struct({"label": pl.String, "reason": pl.String}), is_elementwise=True
        )
        return checked_cells.struct.field("label"), checked_cells.struct.field("reason")

    def fitted(self, labels: pl.Series, values: Sequence[Any]) -> tuple[pl.Series, pl.Series]:
        """Spans without the blanks and unseen characters at their ends, which belong to no word; each must lie within
        its text."""
        import polars as pl

        rows = [_within(label, text) for label, text in zip(labels, values, strict=True)]
        names = (labels.name, "reason")
        columns = [pl.Series(name, [row[i] for row in rows], dtype=pl.String) for i, name in enumerate(names)]
        return columns[0], columns[1]

    def is_changed(self, given: pl.Series, labels: pl.Series) -> pl.Series:
        """Whether a row has other spans than its cell says: without blanks at their ends."""
        import polars as pl

        pairs = zip(given, labels, strict=True)
        return pl.Series([read_spans(cell) != parse(label) for cell, label in pairs], dtype=pl.Boolean)

    def unanswerable(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any]) -> Mapping[str, int]:
        """Spans that are not of whole words, or behind the last one that the encoder reads."""
        starts, ends = cast(SpanEncoder, encoder).token_offsets(values)
        why: Counter[str] = Counter()
        for row, label in enumerate(labels):
            begins, stops = {*starts.row(row).tolist()}, {*ends.row(row).tolist()}
            outside = [span for span in parse(label) if span.start not in begins or span.end not in stops]
            last = max(stops, default=0)
            why[NOT_READ] += any(span.start >= last for span in outside)
            why[NOT_WHOLE] += any(span.start < last for span in outside)
        return +why

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


def _within(label: str, text: str) -> tuple[str, str | None]:
    """A row's label with its spans as they lie in the text, and why one does not."""
    if label == "[]":
        return label, None
    spans = parse(label)
    if spans[-1].end > len(text):
        return label, BEHIND
    words = [text[span.start : span.end] for span in spans]
    if not any(map(_UNSEEN_END.search, words)):
        return label, None
    if any(map(_UNSEEN.fullmatch, words)):
        return label, BLANKS
    trimmed = [
        Span(span.start + len(word) - len(_BEGIN.sub("", word)), span.start + len(_END.sub("", word)), span.type)
        for span, word in zip(spans, words, strict=True)
    ]
    return write_spans(trimmed), None
