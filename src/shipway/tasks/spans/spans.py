"""A row's spans as text: JSON in one form, and why a cell holds none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from shipway.characters import CONTROL

NOT_JSON = "label is not JSON; expected a list of [start, end, type], [] for none"
PYTHON = "label is a list as Python shows it and not JSON; write it by json.dumps"
NOT_A_LIST = "label is not a list of spans; expected a list of [start, end, type], [] for none"
NOT_A_SPAN = "a span is not [start, end, type] or an object of these: two whole numbers and a text"
BEFORE = "a span begins before the text"
BEHIND = "a span ends behind the text"
EMPTY = "a span is empty; its end must be above its start"
BLANKS = "a span is of blanks alone"
NO_TYPE = "a span's type is empty"
BAD_TYPE = "a span's type holds a control character, or U+FFFD: decoded wrongly before it came here"
OVERLAP = "two spans overlap; each character belongs to one span at most"

# Names of a span's parts, as annotation tools write them.
STARTS, ENDS, TYPES = ("start", "start_offset"), ("end", "end_offset"), ("type", "label", "entity")
_PYTHON = re.compile(r"\s*\[\s*[\[({].*'", re.DOTALL)  # brackets around tuples, or names in single quotes
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
        cell: JSON: a list of `[start, end, type]` or of objects with these names, or others of `STARTS`, `ENDS` and
            `TYPES`; what else an object has is ignored.

    Raises:
        BadSpans: it holds none, or spans that no text could have.
    """
    try:
        entries = json.loads(cell)
    except (ValueError, RecursionError):
        raise BadSpans(PYTHON if _PYTHON.match(cell) else NOT_JSON) from None
    if not isinstance(entries, list):
        raise BadSpans(NOT_A_LIST)
    return checked(sorted(map(_span, entries)))


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
        item = [next((item[name] for name in names if name in item), None) for names in (STARTS, ENDS, TYPES)]
    if not isinstance(item, list) or len(item) != 3 or [type(part) for part in item] != [int, int, str]:
        raise BadSpans(NOT_A_SPAN)
    start, end, name = item
    name = name.strip()
    if not name:
        raise BadSpans(NO_TYPE)
    if _NOT_IN_A_NAME.search(name):
        raise BadSpans(BAD_TYPE)
    return Span(start, end, name)
