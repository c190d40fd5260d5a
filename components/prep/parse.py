"""A block of whole records to a frame of strings and its bad records: fast where a file is regular, exact where not."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

import polars as pl
from polars.exceptions import PolarsError

RAW_CHARS = 2_000  # of a bad record kept in the quarantine
BAD_SCHEMA = {"_row": pl.UInt32, "raw": pl.String, "reason": pl.String}
UNCLOSED = "a quote opens in this line and never closes"
MAX_RECORD_LINES = 10_000  # a record of more lines is an unclosed quote that swallows the rows behind it

csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Parsed:
    """Rows of one block.

    Attributes:
        frame: All columns as strings, and `_row`: the record's position in the block, from 1, UInt32.
        bad: Records that could not be parsed: `_row`, `raw`, `reason`.
        records: Good and bad together.
    """

    frame: pl.DataFrame
    bad: pl.DataFrame
    records: int


def parse_csv(block: bytes, columns: list[str], delimiter: str) -> Parsed:
    """Records of a CSV block without its header."""
    try:
        frame = pl.read_csv(
            io.BytesIO(block),
            has_header=False,
            separator=delimiter,
            schema=dict.fromkeys(columns, pl.String),
            quote_char='"',
        )
    except PolarsError:
        return _parse_csv_exactly(block, columns, delimiter)
    if not _is_rectangular(block, frame, delimiter):
        return _parse_csv_exactly(block, columns, delimiter)
    rows = pl.int_range(1, len(frame) + 1, dtype=pl.UInt32, eager=True).alias("_row")
    return Parsed(frame.with_columns(rows), pl.DataFrame(schema=BAD_SCHEMA), len(frame))


def _is_rectangular(block: bytes, frame: pl.DataFrame, delimiter: str) -> bool:
    """Whether every record had all its fields: Polars refuses longer records but fills shorter ones with nulls.

    Delimiters between fields are all delimiters of the block less those inside quoted fields.
    """
    inside = 0
    if b'"' in block:
        counts = frame.select(pl.all().str.count_matches(delimiter, literal=True).sum()).row(0)
        inside = sum(count or 0 for count in counts)
    return block.count(delimiter.encode()) - inside == len(frame) * (frame.width - 1)


def _parse_csv_exactly(block: bytes, columns: list[str], delimiter: str) -> Parsed:
    """The same by Python's csv module, record by record; bytes go through latin-1, which loses none."""
    lines = [line.removesuffix("\r") for line in block.decode("latin-1").removesuffix("\n").split("\n")]
    good: list[list[str]] = []
    rows: list[int] = []
    bad: list[tuple[int, str, str]] = []
    at, number = 0, 0
    while at < len(lines):
        reader = csv.reader(iter(line + "\n" for line in lines[at:]), delimiter=delimiter)
        start = at
        for record in reader:
            first, end = at, start + reader.line_num
            at = end
            number += 1
            swallowed = end - first
            unclosed = swallowed > 1 and end == len(lines) and _is_open("\n".join(lines[first:end]))
            if unclosed or swallowed > MAX_RECORD_LINES:
                bad.append((number, lines[first], UNCLOSED))
                at = first + 1  # the lines behind it are rows of their own
                break
            if not record:  # a blank line
                number -= 1
                continue
            _keep(record, number, "\n".join(lines[first:end]), len(columns), good, rows, bad)
    frame = pl.DataFrame(good, schema=dict.fromkeys(columns, pl.String), orient="row")
    # As Polars reads it: an empty field is null.
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    return Parsed(frame.with_columns(pl.Series("_row", rows, dtype=pl.UInt32)), _bad_frame(bad), number)


def _is_open(record: str) -> bool:
    """Whether a record of several lines ends inside its quotes."""
    return record.count('"') % 2 == 1


def _keep(
    record: list[str],
    number: int,
    raw: str,
    width: int,
    good: list[list[str]],
    rows: list[int],
    bad: list[tuple[int, str, str]],
) -> None:
    if len(record) != width:
        bad.append((number, raw, f"{len(record)} fields, expected {width}"))
        return
    try:
        good.append([field.encode("latin-1").decode() for field in record])
        rows.append(number)
    except UnicodeDecodeError as error:
        bad.append((number, raw, f"not UTF-8: byte 0x{error.object[error.start]:02x}"))


def _bad_frame(bad: list[tuple[int, str, str]]) -> pl.DataFrame:
    return pl.DataFrame([(row, raw[:RAW_CHARS], reason) for row, raw, reason in bad], schema=BAD_SCHEMA, orient="row")


def parse_jsonl(block: bytes, columns: list[str]) -> Parsed:
    """Records of a block of JSON lines; values that are no strings become their JSON text."""
    schema = dict.fromkeys(columns, pl.String)
    try:
        frame = pl.read_ndjson(io.BytesIO(block), schema=schema)
    except PolarsError:
        return _parse_jsonl_exactly(block, columns)
    if len(frame) != block.count(b"\n") + (not block.endswith(b"\n")):
        return _parse_jsonl_exactly(block, columns)
    rows = pl.int_range(1, len(frame) + 1, dtype=pl.UInt32, eager=True).alias("_row")
    return Parsed(frame.select(columns).with_columns(rows), pl.DataFrame(schema=BAD_SCHEMA), len(frame))


def _parse_jsonl_exactly(block: bytes, columns: list[str]) -> Parsed:
    good: list[list[str | None]] = []
    rows: list[int] = []
    bad: list[tuple[int, str, str]] = []
    number = 0
    for line in block.split(b"\n"):
        if not line.strip():
            continue
        number += 1
        raw = line.decode("latin-1")
        try:
            document = json.loads(line.decode())
        except UnicodeDecodeError as error:
            bad.append((number, raw, f"not UTF-8: byte 0x{error.object[error.start]:02x}"))
            continue
        except ValueError as error:
            bad.append((number, raw, f"not JSON: {error}"))
            continue
        if not isinstance(document, dict):
            bad.append((number, raw, f"a JSON {type(document).__name__}, expected an object"))
            continue
        good.append([_as_text(document.get(column)) for column in columns])
        rows.append(number)
    frame = pl.DataFrame(good, schema=dict.fromkeys(columns, pl.String), orient="row")
    return Parsed(frame.with_columns(pl.Series("_row", rows, dtype=pl.UInt32)), _bad_frame(bad), number)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
