"""What a tagger has to beat: looking words up in a dictionary of the training rows' spans."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from shipway.inputs.base import Input
from shipway.tasks.spans.spans import Span, parse, write_spans

TITLES = {"dictionary": "dictionary of the training spans"}

_WORD = re.compile(r"\w+|[^\w\s]")


class Dictionary:
    """The type that words had most often in training, the longest match from left to right, capitals aside.

    Args:
        kind: An input whose values are texts.
        texts: Of the training rows.
        labels: The same rows' spans.
    """

    name = "dictionary"

    def __init__(self, kind: Input, texts: Sequence[str], labels: Iterable[str]) -> None:
        seen: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text, label in zip(texts, labels, strict=True):
            for span in parse(label):
                seen[tuple(_WORD.findall(text[span.start : span.end].lower()))][span.type] += 1
        seen.pop((), None)
        self._kind = kind
        self._types = {words: min(types, key=lambda name: (-types[name], name)) for words, types in seen.items()}
        self._longest = max(map(len, self._types), default=0)

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        found = [write_spans(self.spans(text)) for frame in frames for text in self._kind.values(frame)]
        return pl.DataFrame({"predicted": pl.Series(found, dtype=pl.String)})

    def spans(self, text: str) -> list[Span]:
        """What the dictionary knows of a text."""
        places = [match.span() for match in _WORD.finditer(text)]
        words = [text[start:end].lower() for start, end in places]
        found: list[Span] = []
        at = 0
        while at < len(words):
            lengths = range(min(self._longest, len(words) - at), 0, -1)
            length = next((size for size in lengths if tuple(words[at : at + size]) in self._types), 0)
            if length:
                name = self._types[tuple(words[at : at + length])]
                found.append(Span(places[at][0], places[at + length - 1][1], name))
            at += length or 1
        return found


def fit(kind: Input, rows: pl.DataFrame) -> Dictionary | None:
    """None where no training row has a span, or where inputs are no texts."""
    values: Sequence[Any] = kind.values(rows)
    is_text = all(isinstance(value, str) for value in values[:1])
    return Dictionary(kind, values, rows["label"]) if is_text and (rows["label"] != "[]").any() else None
