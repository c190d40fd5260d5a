"""A linear tagger as baseline: the structured perceptron with averaged weights. NumPy alone.

Collins, "Discriminative training methods for hidden Markov models" (2002): the best path under the present weights is
held against the true one, and weights move by their difference; their mean over all steps is what answers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.inputs.base import Input
from shipway.tasks.spans.spans import Span, parse, types_in, write_spans
from shipway.tasks.spans.tags import places, tag_count, to_tags
from shipway.tasks.spans.tokens import tokens

BUCKETS = 1 << 16  # of features, by hash
FEATURES = 13  # of a token
EPOCHS = 5
MAX_STEPS = 60_000  # rows that are looked at in all: half a minute of a core
MAX_WEIGHTS = 1 << 24  # buckets times tags, of which three tables are held

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Perceptron:
    """Tags by words, their beginnings, ends and shapes, and the words and tag beside them.

    Args:
        kind: An input whose values are texts.
        texts: Of the training rows.
        labels: The same rows' spans.
        seed: Of the order of the rows.
    """

    name = "perceptron"

    def __init__(self, kind: Input, texts: Sequence[str], labels: Sequence[str], seed: int) -> None:
        self._kind, self.types = kind, types_in(labels)
        ids, count = {name: number for number, name in enumerate(self.types)}, tag_count(self.types)
        random = np.random.default_rng(seed)
        chosen = random.permutation(len(texts))[:MAX_STEPS].tolist()
        texts, labels = [texts[i] for i in chosen], [labels[i] for i in chosen]
        starts, ends = tokens(texts)
        truth = [to_tags(parse(label), starts.row(i), ends.row(i), ids) for i, label in enumerate(labels)]
        rows = [(features, tags) for features, tags in zip(_features(texts), truth, strict=True) if len(tags)]
        self._weights, self._steps = np.zeros((BUCKETS, count)), np.zeros((count + 1, count))
        self._learn(rows, random)

    def _learn(self, rows: Sequence[tuple[Ints, Ints]], random: np.random.Generator) -> None:
        # The mean of the weights over all steps is the last ones less what each change had not yet been there for.
        late_weights, late_steps = np.zeros_like(self._weights), np.zeros_like(self._steps)
        done = 0
        order = np.concatenate([random.permutation(len(rows)) for _ in range(EPOCHS)]) if rows else np.zeros(0, int)
        for number in order[:MAX_STEPS]:
            features, true = rows[number]
            guessed = self._best(features)
            wrong = np.flatnonzero(guessed != true)
            before, found_before = (np.append(-1, tags[:-1]) for tags in (true, guessed))
            for tags, behind, sign in ((true, before, 1.0), (guessed, found_before, -1.0)) if len(wrong) else ():
                for weights, factor in ((self._weights, sign), (late_weights, sign * done)):
                    np.add.at(weights, (features[wrong], tags[wrong, None]), factor)
                for steps, factor in ((self._steps, sign), (late_steps, sign * done)):
                    np.add.at(steps, (behind, tags), factor)
            done += 1
        self._weights -= late_weights / max(done, 1)
        self._steps -= late_steps / max(done, 1)

    def _best(self, features: Ints) -> Ints:
        """The path with the most weight (Viterbi)."""
        scores, steps = self._weights[features].sum(1), self._steps[:-1]
        came_from = np.zeros(scores.shape, dtype=np.int64)
        path = scores[0] + self._steps[-1]
        for place in range(1, len(scores)):
            through = path[:, None] + steps
            came_from[place] = through.argmax(0)
            path = through.max(0) + scores[place]
        tags = np.empty(len(scores), dtype=np.int64)
        tags[-1] = path.argmax()
        for place in range(len(scores) - 1, 0, -1):
            tags[place - 1] = came_from[place][tags[place]]
        return tags

    def predict(self, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
        cells = [write_spans(spans) for frame in frames for spans in self.spans(self._kind.values(frame))]
        return pl.DataFrame({"predicted": pl.Series(cells, dtype=pl.String)})

    def spans(self, texts: Sequence[Any]) -> Iterator[list[Span]]:
        """What it finds in each text."""
        starts, ends = tokens(texts)
        for number, features in enumerate(_features(texts)):
            first, last = starts.row(number), ends.row(number)
            _, begins, stops, kinds = places(self._best(features)[None] if len(features) else np.zeros((1, 0), int))
            yield [
                Span(int(first[a]), int(last[b]), self.types[int(kind)])
                for a, b, kind in zip(begins, stops, kinds, strict=True)
            ]


def fits(labels: Sequence[str]) -> bool:
    """Whether the tags of so many types leave the tables at a size that a step's pod has."""
    return BUCKETS * tag_count(types_in(labels)) <= MAX_WEIGHTS


def _features(texts: Sequence[Any]) -> Iterator[Ints]:
    """Of each text the buckets of its tokens' features, shape (tokens, features)."""
    starts, ends = tokens(texts)
    for number, text in enumerate(texts):
        words = [text[a:b] for a, b in zip(starts.row(number), ends.row(number), strict=True)]
        yield np.array([_of_word(words, place) for place in range(len(words))], np.int64).reshape(-1, FEATURES)


def _of_word(words: Sequence[str], place: int) -> list[int]:
    around = [words[at].lower() if 0 <= at < len(words) else "" for at in range(place - 2, place + 3)]
    word, low = words[place], around[2]
    told = (
        *(f"{at} {near}" for at, near in enumerate(around)),
        f"1+2 {around[1]} {low}",
        f"2+3 {low} {around[3]}",
        f"begin {low[:3]}",
        *(f"end {low[-size:]}" for size in (2, 3, 4)),
        f"shape {_shape(word)}",
        "any",
    )
    return [zlib.crc32(feature.encode(errors="replace")) % BUCKETS for feature in told]


def _shape(word: str) -> str:
    """Its characters as capital, small letter, digit or other; repeated ones once."""
    kinds = ["X" if c.isupper() else "0" if c.isdigit() else "x" if c.isalpha() else "." for c in word]
    return "".join(kind for at, kind in enumerate(kinds) if kind != kinds[at - 1] or not at)
