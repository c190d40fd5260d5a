"""A row's spans as text: JSON in one form, and why a cell holds none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from shipway.characters import CONTROL

NOT_JSON = "label is not JSON; expected a list of [start, end, type], [] for none"
NOT_A_LIST = "label is not a list of spans; expected a list of [start, end, type], [] for none"
NOT_A_SPAN = "a span is not [start, end, type] or an object of these: two whole numbers and a text"
BEFORE = "a span begins before the text"
BEHIND = "a span ends behind the text"
EMPTY = "a span is empty; its end must be above its start"
NO_TYPE = "a span's type is empty"
BAD_TYPE = "a span's type holds a control character, or U+FFFD: decoded wrongly before it came here"
OVERLAP = "two spans overlap; each character belongs to one span at most"

TYPES = ("type", "label", "entity")  # names of a span's type, as annotation tools write them
_LARGEST = 2**31 - 1  # no text is that long
_NOT_IN_A_NAME = re.compile(f"{CONTROL}|[\n\r\t\ufffd\ud800-\udfff]")


class Span(NamedTuple):
    """Places are Unicode code points of the row's text, the end exclusive: `text[start:end]` in Python."""

    start: int
    end: int
    type: str


class BadSpans(ValueError):
    """A cell that holds no spans; its message is the reason, without the cell's own values."""


def read_spans(cell: str) -> list[Span]:
    """The spans of a cell, sorted.

    Args:
        cell: JSON: a list of `[start, end, type]` or of objects with these names; a type may be called as in `TYPES`,
            and others in an object are ignored.

    Raises:
        BadSpans: it holds none, or spans that no text could have.
    """
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        raise BadSpans(NOT_JSON) from None
    if not isinstance(found, list):
        raise BadSpans(NOT_A_LIST)
    return checked(sorted(map(_span, found)))


def checked(spans: list[Span]) -> list[Span]:
    """The same spans.

    Args:
        spans: Sorted.

    Raises:
        BadSpans: one is empty, begins before the text, or overlaps another.
    """
    for span in spans:
        if span.start < 0:
            raise BadSpans(BEFORE)
        if span.end <= span.start:
            raise BadSpans(EMPTY)
        if span.end > _LARGEST:
            raise BadSpans(BEHIND)
    if any(after.start < before.end for before, after in pairwise(spans)):
        raise BadSpans(OVERLAP)
    return spans


def write_spans(spans: Iterable[tuple[int, int, str]]) -> str:
    """Spans as text in their one form: a sorted list of lists, compact."""
    return json.dumps(sorted([*span] for span in spans), ensure_ascii=False, separators=(",", ":"))


def parse(label: str) -> list[Span]:
    """The spans of a label that `write_spans` wrote."""
    return [Span(*span) for span in json.loads(label)]


def types_in(labels: Iterable[str]) -> list[str]:
    """All types that labels name, sorted: the class names of a recipe's encoder."""
    return sorted({span.type for label in set(labels) for span in parse(label)})


def _span(item: Any) -> Span:
    if isinstance(item, dict):
        item = [item.get("start"), item.get("end"), next((item[name] for name in TYPES if name in item), None)]
    if not isinstance(item, list) or len(item) != 3 or [type(part) for part in item] != [int, int, str]:
        raise BadSpans(NOT_A_SPAN)
    start, end, name = item
    name = name.strip()
    if not name:
        raise BadSpans(NO_TYPE)
    if _NOT_IN_A_NAME.search(name):
        raise BadSpans(BAD_TYPE)
    return Span(start, end, name)
