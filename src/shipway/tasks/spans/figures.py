"""Figures of spans as functions of plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shipway.tasks.spans.spans import Span, parse

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]

# How a true and a predicted span stand to each other.
BOUNDS = "other bounds"  # the same type, overlapping
TYPE = "other type"  # the same bounds
BOTH = "other bounds and type"  # overlapping
MISSED = "missed"
INVENTED = "invented"
KINDS = (BOUNDS, TYPE, BOTH, MISSED, INVENTED)


class Pair(NamedTuple):
    """A mistake: a true span and what was answered in its place; one of the two may be absent."""

    kind: str
    true: Span | None
    predicted: Span | None


def statistics(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> csr_array:
    """Rows of counts, float64 (n, 3 * classes + 2): by class right, true and predicted spans; exact rows, rows."""
    from scipy.sparse import csr_array  # the plan checks settings where it is not installed

    ids, count = {name: number for number, name in enumerate(classes)}, len(classes)
    places: list[int] = []
    offsets = [0]
    for label, answer in zip(labels, predicted, strict=True):
        true, ours = set(parse(label)), set(parse(answer))
        for part, spans in enumerate((true & ours, true, ours)):
            places += (part * count + ids[span.type] for span in spans)
        if true == ours:
            places.append(3 * count)
        places.append(3 * count + 1)
        offsets.append(len(places))
    matrix = csr_array((np.ones(len(places)), places, offsets), shape=(len(labels), 3 * count + 2))
    matrix.sum_duplicates()
    return matrix


def metrics(sums: Floats) -> dict[str, Floats]:
    """The task's metrics of many sums of `statistics` at once; what has no denominator is 0, as in `seqeval`.

    The macro figures are means over the types that occur or are predicted.
    """
    right, true, predicted = np.split(sums[:, :-2], 3, axis=1)
    seen = np.maximum(((true + predicted) > 0).sum(axis=1), 1)
    by_type = scores(right, true, predicted)
    whole = scores(*(part.sum(axis=1) for part in (right, true, predicted)))
    macro = {f"macro_{name}": value.sum(axis=1) / seen for name, value in by_type.items()}
    return {**whole, **macro, "exact_rows": _ratio(sums[:, -2], sums[:, -1])}


def scores(right: Floats, true: Floats, predicted: Floats) -> dict[str, Floats]:
    """f1, precision and recall of counts of any one shape."""
    return {
        "f1": _ratio(2 * right, true + predicted),
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, true),
    }


def _ratio(above: Floats, below: Floats) -> Floats:
    result: Floats = np.zeros(np.shape(above), dtype=np.float64)
    np.divide(above, below, out=result, where=np.asarray(below) > 0)
    return result


def mistakes(true: Sequence[Span], predicted: Sequence[Span]) -> Iterator[Pair]:
    """How an answer differs from the truth; each span is in one mistake at most.

    Spans are paired where they have the same bounds, then where the type is the same and they overlap, then where they
    overlap; the longer overlap first.
    """
    ours, theirs = set(true) - set(predicted), set(predicted) - set(true)
    pairs = sorted((_rank(one, other), one, other) for one in ours for other in theirs if _overlap(one, other))
    for (kind, _), one, other in pairs:
        if one in ours and other in theirs:
            ours.remove(one)
            theirs.remove(other)
            yield Pair((TYPE, BOUNDS, BOTH)[kind], one, other)
    yield from (Pair(MISSED, span, None) for span in sorted(ours))
    yield from (Pair(INVENTED, None, span) for span in sorted(theirs))


def _rank(one: Span, other: Span) -> tuple[int, int]:
    kind = 0 if one[:2] == other[:2] else 1 if one.type == other.type else 2
    return kind, -_overlap(one, other)


def _overlap(one: Span, other: Span) -> int:
    return max(min(one.end, other.end) - max(one.start, other.start), 0)
