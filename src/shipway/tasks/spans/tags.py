"""Spans as a tag for each token, and back. NumPy alone.

Tag 0 is outside; type number t has the tags 1 + 2t, where a span begins (B), and 2 + 2t, within one (I). Any sequence
of tags has a meaning, as CoNLL's `conlleval` reads it: an I behind outside, or behind another type, begins a span.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shipway.errors import InvalidData
from shipway.recipes.arrays import Encoded, Ragged
from shipway.recipes.base import Encoder
from shipway.tasks.spans.spans import Span

Ints = NDArray[np.int64]
OUTSIDE = 0


class SpanEncoder(Encoder, Protocol):
    """What the encoder of a recipe of spans offers beside `Encoder`; its `labels` are the types.

    Attributes:
        tokens: The feature of variable length that has one place a token, and no token all of whose numbers are 0: its
            padding tells how long each row of a batch is. The model takes it.
    """

    @property
    def tokens(self) -> str: ...

    def token_offsets(self, values: Sequence[Any]) -> tuple[Ragged, Ragged]:
        """Where each token begins and ends in its text, int64, in code points, the end exclusive.

        Tokens follow each other without overlap and are as many a row as `encode` gives.
        """
        ...


def tag_count(types: Sequence[str]) -> int:
    """How many tags there are: what a model's logits have in their last dimension."""
    return 1 + 2 * len(types)


def tag_names(types: Sequence[str]) -> list[str]:
    """`O`, `B-number`, `I-number`, ... by tag."""
    return ["O", *(f"{part}-{name}" for name in types for part in "BI")]


def to_tags(spans: Sequence[Span], starts: Ints, ends: Ints, ids: dict[str, int]) -> Ints:
    """The tags of one text's tokens.

    A span that ends within a token takes the whole token, as a model can only answer whole ones; a token that two spans
    touch belongs to the first. A span without a token (blanks alone) has no tag.

    Args:
        spans: Sorted, without overlap.
        starts: Of the tokens, shape (tokens,).
        ends: Of the tokens.
        ids: Type -> number.
    """
    tags, free = np.zeros(len(starts), dtype=np.int64), 0
    for span in spans:
        first = max(int(np.searchsorted(ends, span.start, side="right")), free)
        stop = int(np.searchsorted(starts, span.end, side="left"))
        if first < stop:
            tags[first:stop] = 2 + 2 * ids[span.type]
            tags[first] -= 1
            free = stop
    return tags


def bounds(tags: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where spans begin, and at which token they end, by position.

    Args:
        tags: Shape (n, length), outside or -1 behind each row's tokens.
    """
    around = np.zeros((len(tags), tags.shape[1] + 2), dtype=np.int64)
    around[:, 1:-1] = tags
    kinds = (around + 1) // 2  # 0 outside, else the number of the type, from 1
    begins = (around > OUTSIDE) & ((around % 2 == 1) | (kinds != np.roll(kinds, 1, axis=1)))
    stops = (around > OUTSIDE) & np.roll(begins | (kinds == 0), -1, axis=1)
    return begins[:, 1:-1], stops[:, 1:-1]


def places(tags: NDArray[Any]) -> tuple[Ints, Ints, Ints, Ints]:
    """All spans of a batch in order: row, first token, last token, number of the type; shape (spans,) each."""
    begins, stops = bounds(tags)
    rows, firsts = np.nonzero(begins)
    _, lasts = np.nonzero(stops)
    return rows, firsts, lasts, (tags[rows, firsts].astype(np.int64) - 1) // 2


def targets(encoder: SpanEncoder, labels: Sequence[Sequence[Span]], values: Sequence[Any], encoded: Encoded) -> Ragged:
    """The tags of a chunk of rows.

    Raises:
        InvalidData: the encoder gives other offsets than tokens.
    """
    starts, ends = encoder.token_offsets(values)
    check_lengths(encoder, encoded, starts, ends)
    ids = {name: number for number, name in enumerate(encoder.labels)}
    rows = [to_tags(spans, starts.row(i), ends.row(i), ids) for i, spans in enumerate(labels)]
    return Ragged.of(rows, np.int64)


def check_lengths(encoder: SpanEncoder, encoded: Encoded, starts: Ragged, ends: Ragged) -> None:
    """Refuses an encoder whose tokens and offsets disagree: its tags would stand at other words."""
    feature = encoded.get(encoder.tokens)
    if not isinstance(feature, Ragged):
        raise InvalidData(
            f"its feature {encoder.tokens!r} is of no variable length",
            field="encoder",
            given=encoder.tokens,
            allowed="a place a token",
        )
    inner = encoder.features[encoder.tokens].shape[1:]
    width = int(np.prod([side or 1 for side in inner], initial=1))
    lengths = np.diff(feature.offsets) // width
    for places in (starts, ends):
        wrong = np.flatnonzero(np.diff(places.offsets) != lengths)
        if len(wrong):
            row = int(wrong[0])
            raise InvalidData(
                f"row {row} of a chunk has {lengths[row]} tokens in {encoder.tokens!r}, but "
                f"token_offsets gives {len(places.row(row))}",
                field="encoder",
                given=encoder.tokens,
                allowed="as many",
            )
