"""Counts a JSON document's tokens without building it: millions of tiny values cost a parser seconds and gigabytes."""

from __future__ import annotations

import re

MAX_DEPTH = 32
_STRUCTURE = re.compile(rb'["\[\]{},]')
_SLICE = 1 << 16  # a search of the whole would keep other threads from the interpreter
_QUOTE = ord('"')
_DEPTH = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def is_within(data: bytes, max_tokens: int) -> bool:
    """Whether the document has at most so many strings, brackets and commas, and is nested at most `MAX_DEPTH` deep.

    It stops at the first token too many. Whether the document is valid JSON is the parser's to say.
    """
    position = depth = count = 0
    while position < len(data):
        match = _STRUCTURE.search(data, position, position + _SLICE)
        if match is None:
            position += _SLICE
            continue
        position = match.end()
        count += 1
        mark = data[match.start()]
        depth += _DEPTH.get(mark, 0)
        if count > max_tokens or depth > MAX_DEPTH:
            return False
        if mark == _QUOTE:
            # An escaped quote is cheap to parse, but not to find: 32 of them count, and so does no smaller rest.
            position, quotes = _after_string(data, position, ((max_tokens - count + 1) << 5) - 1)
            count += quotes >> 5
    return True


def _after_string(data: bytes, start: int, budget: int) -> tuple[int, int]:
    """Where the string that begins at `start` has ended, and how many escaped quotes it holds; stops at the budget."""
    escaped, position = 0, start
    while escaped <= budget:
        end = data.find(b'"', position)
        if end < 0:
            return len(data), escaped
        piece = data[position:end]
        if not piece.endswith(b"\\") or (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 0:
            return end + 1, escaped
        escaped, position = escaped + 1, end + 1
    return position, escaped + 32
