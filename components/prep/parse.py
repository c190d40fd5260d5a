"""A block of whole records to a frame of strings and its bad records.

What a record means is said once, in Python. Polars reads a block of CSV only where it can be seen to mean the same:
which of the two reads a row must not depend on another row of its block.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl
from polars.exceptions import PolarsError

from shipway.components.prep.quoting import Quoting, quoted_field

RAW_CHARS = 2_000  # of a bad record kept in the quarantine
BAD_SCHEMA = {"_row": pl.UInt32, "raw": pl.String, "reason": pl.String}
UNCLOSED = "a quote opens in this line and never closes"
PAIRED = (
    "a quote pairs with one of another line, and every line between reads as a row: quoting=csv makes them one row, "
    "quoting=none reads quotes as characters"
)
MAX_RECORD_LINES = 10_000  # a record of more lines is an unclosed quote that swallows the rows behind it

BOM = b"\xef\xbb\xbf"
CSV = Quoting()
Bad = tuple[int, str, str]  # row, raw record, reason


@dataclass(frozen=True)
class Parsed:
    """Rows of one block.

    Attributes:
        frame: All columns as strings, and `_row`: the record's position in the block, from 1, UInt32.
        bad: Records that could not be parsed: `_row`, `raw`, `reason`.
        records: Good and bad together.
        unread: Rows with a value in a column that is none of the file's beginning, by column.
    """

    frame: pl.DataFrame
    bad: pl.DataFrame
    records: int
    unread: Counter[str] = field(default_factory=Counter)


def parse_csv(block: bytes, columns: list[str], delimiter: str, quoting: Quoting = CSV) -> Parsed:
    """Records of a CSV block without its header; an empty field is null."""
    frame = _parse_regular_csv(block, columns, delimiter, quoting)
    if frame is None:
        return _parse_csv_exactly(block, columns, delimiter, quoting)
    rows = pl.int_range(1, len(frame) + 1, dtype=pl.UInt32, eager=True).alias("_row")
    return Parsed(frame.with_columns(rows), bad_frame([]), len(frame))


def _parse_regular_csv(block: bytes, columns: list[str], delimiter: str, quoting: Quoting) -> pl.DataFrame | None:
    """By Polars; None unless every quote belongs to a quoted field and every record has all its fields."""
    has_quotes = quoting.mode == "csv" and b'"' in block
    if has_quotes and b'"' in quoted_field(delimiter.encode()).sub(b"", block):
        return None
    # What Polars skips at a block's beginning, which may be anywhere in a file: a mark of encoding, and a lone CR.
    if block.startswith(BOM) or block.count(b"\r") != block.count(b"\r\n"):
        return None
    try:
        frame = pl.read_csv(
            io.BytesIO(block),
            has_header=False,
            separator=delimiter,
            schema=dict.fromkeys(columns, pl.String),
            quote_char='"' if quoting.mode == "csv" else None,
        )
    except PolarsError:
        return None
    if not _is_rectangular(block, frame, delimiter, has_quotes):
        return None
    if has_quotes:
        if not quoting.trusts_lines and len(frame) != block.count(b"\n") + (not block.endswith(b"\n")):
            return None
        frame = _empty_as_null(frame)
    return frame


def _is_rectangular(block: bytes, frame: pl.DataFrame, delimiter: str, has_quotes: bool) -> bool:
    """Whether every record had all its fields: Polars refuses longer records but fills shorter ones with nulls.

    Delimiters between fields are all delimiters of the block less those inside quoted fields.
    """
    inside = 0
    if has_quotes:
        counts = frame.select(pl.all().str.count_matches(delimiter, literal=True).sum()).row(0)
        inside = sum(count or 0 for count in counts)
    return block.count(delimiter.encode()) - inside == len(frame) * (frame.width - 1)


def _parse_csv_exactly(block: bytes, columns: list[str], delimiter: str, quoting: Quoting) -> Parsed:
    """The same record by record."""
    lines = block.removesuffix(b"\n").split(b"\n")
    good: list[list[str]] = []
    rows: list[int] = []
    bad: list[Bad] = []
    number = 0
    for raw, record in _records(lines, delimiter.encode(), len(columns), quoting):
        number += 1
        if isinstance(record, str):
            bad.append((number, raw.decode("latin-1"), record))
        elif len(record) != len(columns):
            hint = " (quotes are read as characters)" if quoting.mode == "none" and b'"' in raw else ""
            reason = f"{len(record)} fields, expected {len(columns)}{hint}"
            bad.append((number, raw.decode(errors="replace"), reason))
        else:
            try:
                good.append([part.decode() for part in record])
                rows.append(number)
            except UnicodeDecodeError as error:
                bad.append((number, raw.decode("latin-1"), not_utf8(error)))
    frame = _empty_as_null(pl.DataFrame(good, schema=dict.fromkeys(columns, pl.String), orient="row"))
    return Parsed(frame.with_columns(pl.Series("_row", rows, dtype=pl.UInt32)), bad_frame(bad), number)


def lacks_fields(end: bytes, width: int, delimiter: str, quoting: Quoting) -> bool:
    """Whether a file was cut that ends in this record: without a line break, and with a field missing or open."""
    lines = end.split(b"\n")
    if not lines[-1].strip(b" \t\r\x1a"):  # some tools write Ctrl-Z behind a file
        return False
    _, fields = next(_records(lines, delimiter.encode(), width, quoting))
    if isinstance(fields, str):
        return quoting.trusts_lines or lines[-1].count(delimiter.encode()) < width - 1
    return len(fields) < width


def _empty_as_null(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _records(
    lines: list[bytes], delimiter: bytes, width: int, quoting: Quoting
) -> Iterator[tuple[bytes, list[bytes] | str]]:
    """Each record as it stands, and its fields or why it is bad; blank lines are none."""
    at = 0
    while at < len(lines):
        line = lines[at].removesuffix(b"\r")
        if not line:
            at += 1
        elif quoting.mode == "none" or b'"' not in line:
            yield line, line.split(delimiter)
            at += 1
        else:
            end, fields = _quoted_record(lines, at, delimiter)
            taken = lines[at:end]
            if fields is None:
                yield line, UNCLOSED
                end = at + 1  # the lines behind it are rows of their own
            elif len(taken) > 1 and not quoting.trusts_lines and quoting.reads_as_rows(taken, delimiter, width):
                yield line, PAIRED
                for between in taken[1:-1]:
                    yield between.removesuffix(b"\r"), between.removesuffix(b"\r").split(delimiter)
                yield taken[-1].removesuffix(b"\r"), PAIRED
            else:
                yield b"\n".join(taken).removesuffix(b"\r"), fields
            at = end


@lru_cache(maxsize=64)
def _inside(delimiter: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """What a quoted field holds up to its closing quote, and what may follow that."""
    return re.compile(rb'[^"]*+(?:""[^"]*+)*+'), re.compile(re.escape(delimiter) + rb"|\r?\Z")


def _quoted_record(lines: list[bytes], first: int, delimiter: bytes) -> tuple[int, list[bytes] | None]:
    """The line behind the record that begins in line `first`, and its fields; None for a quote that never closes.

    A quote at a field's beginning that closes in its own line in front of other text encloses nothing: the field is
    taken as it stands.
    """
    at, position = first, 0
    fields: list[bytes] = []
    while True:
        field = _field(lines, at, position, delimiter)
        if field is None:
            return first + 1, None
        at, end, content = field
        fields.append(content)
        if lines[at][end:] in (b"", b"\r"):
            return at + 1, fields
        position = end + 1


def _field(lines: list[bytes], at: int, start: int, delimiter: bytes) -> tuple[int, int, bytes] | None:
    """The line and position where the field that begins here ends, and its content; None for an open quote."""
    line = lines[at]
    if line.startswith(b'"', start):
        content, behind = _inside(delimiter)
        close = _match_end(content, line, start + 1)
        if close < len(line) and behind.match(line, close + 1):
            return at, close + 1, line[start + 1 : close].replace(b'""', b'"')
        if close == len(line):
            return _field_of_lines(lines, at, start, delimiter)
    end = line.find(delimiter, start)
    return (at, end, line[start:end]) if end >= 0 else (at, len(line), line[start:].removesuffix(b"\r"))


def _field_of_lines(lines: list[bytes], at: int, start: int, delimiter: bytes) -> tuple[int, int, bytes] | None:
    content, behind = _inside(delimiter)
    parts = [lines[at][start + 1 :]]
    for number in range(at + 1, min(at + MAX_RECORD_LINES, len(lines))):
        line = lines[number]
        close = _match_end(content, line, 0)
        parts.append(line[:close])
        if close < len(line):
            whole = b"\n".join(parts).replace(b'""', b'"')
            return (number, close + 1, whole) if behind.match(line, close + 1) else None
    return None


def _match_end(pattern: re.Pattern[bytes], line: bytes, start: int) -> int:
    match = pattern.match(line, start)
    assert match is not None  # it matches nothing, too
    return match.end()


def bad_frame(bad: list[Bad]) -> pl.DataFrame:
    """Bad records as `Parsed` has them."""
    return pl.DataFrame([(row, raw[:RAW_CHARS], reason) for row, raw, reason in bad], schema=BAD_SCHEMA, orient="row")


def not_utf8(error: UnicodeDecodeError) -> str:
    """The reason of a row that cannot be decoded."""
    return f"not UTF-8: byte 0x{error.object[error.start]:02x}"


def first_record(head: bytes, delimiter: bytes, *, has_quoting: bool) -> tuple[list[bytes], int]:
    """The fields of the first line that is not blank, a header, and the bytes up to the next; a stray quote is text."""
    lines = head.split(b"\n")
    first = next((number for number, line in enumerate(lines) if line.strip(b" \r" + delimiter)), None)
    if first is None:
        return [], len(head)
    end, fields = first + 1, None
    if has_quoting and b'"' in lines[first]:
        end, fields = _quoted_record(lines, first, delimiter)
    if fields is None:
        fields = lines[first].removesuffix(b"\r").split(delimiter)
    return fields, min(sum(len(line) + 1 for line in lines[:end]), len(head))
