"""A block of JSON lines to a frame of strings and its bad records.

Python's reader alone: Polars' rewrites numbers, takes the first of repeated keys and may end the process over deep
nesting, and what a row means must not depend on another row of its block.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import polars as pl

from shipway.components.prep.parse import Bad, Parsed, bad_frame, not_utf8

PLAIN = {str, type(None)}


def parse_jsonl(
    block: bytes, columns: list[str], roles: tuple[str, ...] = (), prefix: str = "", lists: tuple[str, ...] = ()
) -> Parsed:
    """Records of a block of JSON lines.

    A number or boolean is its text as written; a list or object of a column without a role is its JSON.

    Args:
        roles: Columns that must hold text, a number or a boolean.
        prefix: In front of the frame's column names.
        lists: Those of `roles` that may hold a list, too.
    """
    values: list[list[str | None]] = [[] for _ in columns]
    rows: list[int] = []
    bad: list[Bad] = []
    unread: Counter[str] = Counter()
    known = frozenset(columns)
    number = 0
    for line in block.split(b"\n"):
        if not line.strip():
            continue
        number += 1
        try:
            record = read_object(line)
            texts = list(map(record.get, columns))
            if not PLAIN.issuperset(map(type, texts)):
                record = read_object(line, _EXACT)  # inside a list or object a number is no string
                texts = [_as_text(name, record.get(name), roles, lists) for name in columns]
        except (NoRow, RecursionError) as error:
            reason = str(error) if isinstance(error, NoRow) else "JSON nested too deeply"
            bad.append((number, line.decode(errors="replace"), reason))
            continue
        if not known.issuperset(record):
            unread.update(name for name in record if name not in known and record[name] is not None)
        rows.append(number)
        for column, text in zip(values, texts, strict=True):
            column.append(text)
    named = {f"{prefix}{name}": column for name, column in zip(columns, values, strict=True)}
    frame = pl.DataFrame(named, schema=dict.fromkeys(named, pl.String))
    return Parsed(frame.with_columns(pl.Series("_row", rows, dtype=pl.UInt32)), bad_frame(bad), number, unread)


def is_cut(end: bytes) -> bool:
    """Whether a file of JSON lines that ends so was cut: its last line is the beginning of an object."""
    line = end.rpartition(b"\n")[2].decode(errors="ignore").strip()
    if not line.startswith("{"):
        return False
    try:
        _EXACT.decode(line)
    except json.JSONDecodeError as error:
        broke_off = error.pos >= len(line) or error.msg.startswith("Unterminated")
        return broke_off or not line.endswith("}")
    except RecursionError:
        return not line.endswith("}")
    return False


class NoRow(ValueError):
    """Why a line is no row."""


class _Number(str):
    """A number's text as written: 1.0 stays apart from 1, and no digit of a long one is lost."""


class _NotANumber(str):
    """NaN, Infinity or -Infinity, which Python writes though JSON has none of them."""


_EXACT = json.JSONDecoder(object_pairs_hook=tuple, parse_int=_Number, parse_float=_Number, parse_constant=_NotANumber)
# A third faster: its numbers are plain text, which is all that a column of numbers needs.
_FAST = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=_NotANumber)


def read_object(line: bytes, reader: json.JSONDecoder = _FAST) -> dict[str, Any]:
    """The object that a line holds; numbers as text, inner objects as tuples of pairs.

    Raises:
        NoRow: it holds none, or one that may be read in two ways.
        RecursionError: it is nested too deeply.
    """
    try:
        text = line.decode().strip(" \t\r\n")
        pairs, end = reader.raw_decode(text)
    except UnicodeDecodeError as error:
        raise NoRow(not_utf8(error)) from error
    except ValueError as error:
        raise NoRow(f"not JSON: {error}") from error
    if end < len(text):
        raise NoRow(f"not JSON: more behind its first value (char {end})")
    if not isinstance(pairs, tuple):
        raise NoRow(f"a JSON {_kind(_EXACT.decode(line.decode()))}, expected an object")
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise NoRow(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in the object")
    if b"\\u" in line and not _is_unicode(pairs):
        raise NoRow("half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    return record


def _is_unicode(value: Any) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return all(map(_is_unicode, value)) if isinstance(value, tuple | list) else True


def _as_text(name: str, value: Any, roles: tuple[str, ...], lists: tuple[str, ...]) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Number):
        return str(value)
    if name in roles and not (name in lists and isinstance(value, list)):
        raise NoRow(
            f"column {name!r} holds a JSON {_kind(value)}, expected {'text or a list' if name in lists else 'text'}"
        )
    return _as_json(value)


def _kind(value: Any) -> str:
    if isinstance(value, _NotANumber):
        return str(value)
    return {tuple: "object", list: "list", _Number: "number", bool: "boolean", str: "string"}.get(type(value), "null")


def _as_json(value: Any) -> str:
    """JSON text of what `read_object` gives, numbers as they were written."""
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_as_json(v)}" for key, v in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_json, value)) + "]"
    return str(value) if isinstance(value, _Number | _NotANumber) else json.dumps(value, ensure_ascii=False)
