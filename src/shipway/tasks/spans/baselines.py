"""What a tagger has to beat: looking words up in a dictionary of the training rows' spans, and a linear tagger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from shipway.inputs.base import Input
from shipway.tasks.spans.perceptron import Perceptron, fits
from shipway.tasks.spans.spans import Span, parse, write_spans
from shipway.tasks.spans.tokens import tokens

TITLES = {"dictionary": "dictionary of the training spans", "perceptron": "averaged perceptron"}


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
        named = [
            (text[s.start : s.end], s.type) for text, label in zip(texts, labels, strict=True) for s in parse(label)
        ]
        for (words, _), (_, name) in zip(_words([words for words, _ in named]), named, strict=True):
            seen[tuple(words)][name] += 1
        seen.pop((), None)
        self._kind = kind
        self._types = {words: min(types, key=lambda name: (-types[name], name)) for words, types in seen.items()}
        self._longest = max(map(len, self._types), default=0)

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        cells = [write_spans(spans) for frame in frames for spans in self.spans(self._kind.values(frame))]
        return pl.DataFrame({"predicted": pl.Series(cells, dtype=pl.String)})

    def spans(self, texts: Sequence[str]) -> Iterator[list[Span]]:
        """What the dictionary knows of each text."""
        return (self._known(words, places) for words, places in _words(texts))

    def _known(self, words: list[str], places: list[tuple[int, int]]) -> list[Span]:
        spans: list[Span] = []
        at = 0
        while at < len(words):
            lengths = range(min(self._longest, len(words) - at), 0, -1)
            length = next((size for size in lengths if tuple(words[at : at + size]) in self._types), 0)
            if length:
                name = self._types[tuple(words[at : at + length])]
                spans.append(Span(places[at][0], places[at + length - 1][1], name))
            at += length or 1
        return spans


def fit(name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Dictionary | Perceptron | None:
    """The named baseline; None where no training row has a span, where inputs are no texts, or for a perceptron where
    types are too many for its tables."""
    values: Sequence[Any] = kind.values(rows)
    if not all(isinstance(value, str) for value in values[:1]) or not (rows["label"] != "[]").any():
        return None
    labels = rows["label"].to_list()
    if name == "dictionary":
        return Dictionary(kind, values, labels)
    return Perceptron(kind, values, labels, seed) if fits(labels) else None


def _words(texts: Sequence[str]) -> Iterator[tuple[list[str], list[tuple[int, int]]]]:
    """Of each text its words in small letters, and where they stand."""
    starts, ends = tokens(texts)
    for number, text in enumerate(texts):
        places = list(zip(starts.row(number).tolist(), ends.row(number).tolist(), strict=True))
        yield [text[start:end].lower() for start, end in places], places
