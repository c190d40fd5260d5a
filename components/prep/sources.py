"""Files of a source, and their cut into pieces of whole records that any process can read."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import polars as pl
import zstandard
from polars.exceptions import PolarsError

from shipway.components.prep.parse import BAD_SCHEMA, Parsed, parse_csv, parse_jsonl
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData, nearest

PIECE_BYTES = 8 << 20
MAX_RECORD_BYTES = 64 << 20
HEAD_BYTES = 1 << 20  # read to find columns and delimiter
PARQUET_ROWS = 50_000
DELIMITERS = ",;\t|"

Kind = Literal["csv", "jsonl", "parquet"]
KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
OPENERS: dict[str, Callable[[Path], Any]] = {
    "": lambda path: path.open("rb"),
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": zstandard.open,  # reads binary by default, as the others do
}
ENDINGS = "csv, tsv, jsonl, ndjson or parquet, also with .gz, .bz2, .xz or .zst"
BROKEN = (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError)


@dataclass(frozen=True)
class Source:
    """One file, opened once to learn its shape."""

    path: Path
    shown: str  # its name below the source, for people
    kind: Kind
    compression: str  # "", ".gz", ...
    columns: tuple[str, ...]
    delimiter: str = ","
    start: int = 0  # offset of the first record (uncompressed)
    first_row: int = 0  # rows of the original file in front of this one, where it holds a part of it


@dataclass(frozen=True)
class Piece:
    """Whole records of one file.

    Attributes:
        number: Position among all pieces of the dataset; `(number, row)` orders the rows as they were given.
        path: The file itself, or a scratch file with decompressed records (`is_scratch`).
    """

    number: int
    source: int
    kind: Kind
    path: Path
    start: int
    end: int
    columns: tuple[str, ...]
    delimiter: str
    is_scratch: bool = False


def find_sources(files: Sequence[Path], spec: DatasetSpec) -> list[Source]:
    """The files of a source, opened far enough to know their columns.

    Args:
        files: As `shipway.storage.sources.fetch_source` gives them.

    Raises:
        InvalidData: one cannot be read, or lacks a column; names the columns there are.
    """
    folder = os.path.commonpath([path.parent for path in files]) if files else ""
    sources = [_open_source(path, os.path.relpath(path, folder), spec) for path in files]
    found = [source for source in sources if source.columns]
    if not found:
        raise InvalidData(f"data: {spec.data!r} is empty; expected a header and rows")
    for source in found:
        _check_columns(source, spec)
    return found


def all_columns(sources: list[Source]) -> list[str]:
    """The union of the files' columns, in the order of their first appearance."""
    return list(dict.fromkeys(column for source in sources for column in source.columns))


def cut(sources: list[Source], scratch: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Piece]:
    """Pieces of about `piece_bytes`, in order; compressed files are decompressed into `scratch` as they come."""
    number = 0
    for index, source in enumerate(sources):
        if source.kind == "parquet":
            yield Piece(number, index, "parquet", source.path, 0, 0, source.columns, "")
            number += 1
            continue
        for start, end, data in _blocks(source, piece_bytes):
            path = source.path
            if source.compression:
                path = scratch / f"piece-{number:06d}"
                path.write_bytes(data)
                start, end = 0, len(data)
            scratch_file = bool(source.compression)
            yield Piece(number, index, source.kind, path, start, end, source.columns, source.delimiter, scratch_file)
            number += 1


def read(piece: Piece) -> Iterator[Parsed]:
    """The records of a piece; more than one frame only for Parquet, whose pieces are whole files."""
    if piece.kind == "parquet":
        yield from _read_parquet(piece)
        return
    with piece.path.open("rb") as file:
        file.seek(piece.start)
        block = file.read(piece.end - piece.start)
    if piece.is_scratch:
        piece.path.unlink()
    if piece.kind == "csv":
        yield parse_csv(block, list(piece.columns), piece.delimiter)
    else:
        yield parse_jsonl(block, list(piece.columns))


def _kind(path: Path, spec: DatasetSpec) -> tuple[Kind | None, str]:
    suffix = path.suffix.lower()
    compression = suffix if suffix and suffix in OPENERS else ""
    name = path.with_suffix("") if compression else path
    if spec.format != "auto":
        return ("csv" if spec.format == "tsv" else spec.format), compression
    return KINDS.get(name.suffix.lower()), compression


def _open_source(path: Path, shown: str, spec: DatasetSpec) -> Source:
    kind, compression = _kind(path, spec)
    if kind is None:
        raise InvalidData(
            f"data: {shown!r} is of no known kind; expected {ENDINGS}, or give format=csv|tsv|jsonl|parquet"
        )
    if kind == "parquet":
        if compression:
            raise InvalidData(f"data: {shown!r}: Parquet is compressed inside; decompress the file")
        return Source(path, shown, kind, "", _parquet_columns(path, shown))
    head = _head(path, shown, compression)
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    head = head[start:]
    if kind == "jsonl":
        return Source(path, shown, kind, compression, _jsonl_columns(head, shown), start=start)
    is_tab = spec.format == "tsv" or Path(shown.removesuffix(compression)).suffix.lower() in (".tsv", ".tab")
    delimiter = spec.delimiter or ("\t" if is_tab else _sniff(head, spec))
    columns, length = _csv_header(head, delimiter, shown)
    return Source(path, shown, kind, compression, columns, delimiter, start + length)


def _head(path: Path, shown: str, compression: str) -> bytes:
    try:
        with OPENERS[compression](path) as file:
            head: bytes = file.read(HEAD_BYTES)
    except BROKEN as error:
        raise InvalidData(f"data: {shown!r} cannot be read: {error}") from error
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidData(
            f"data: {shown!r} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}"
        )
    if b"\0" in head:
        raise InvalidData(f"data: {shown!r} is no text file (it holds NUL bytes); expected UTF-8 text")
    return head


def _sniff(head: bytes, spec: DatasetSpec) -> str:
    """The delimiter under which the header holds the wanted columns, else the commonest in it."""
    line = head.split(b"\n", 1)[0].decode(errors="replace")
    wanted = {spec.text_column, spec.label_column}
    for delimiter in DELIMITERS:
        if wanted <= {name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])}:
            return delimiter
    return max(DELIMITERS, key=line.count)


def _csv_header(head: bytes, delimiter: str, shown: str) -> tuple[tuple[str, ...], int]:
    """Column names, and the bytes that the header takes."""
    lines = head.decode("latin-1").split("\n")
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    record = next((record for record in reader if any(field.strip() for field in record)), [])
    length = min(len("\n".join(lines[: reader.line_num]).encode("latin-1")) + 1, len(head))
    try:
        names = [field.encode("latin-1").decode().strip() for field in record]
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"data: {shown!r}: the header is not UTF-8; convert the file, for example iconv -f WINDOWS-1252 -t UTF-8"
        ) from error
    names = [name or f"column_{position}" for position, name in enumerate(names, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InvalidData(f"data: {shown!r}: column {twice!r} stands in the header twice; rename one")
    return tuple(names), length


def _jsonl_columns(head: bytes, shown: str) -> tuple[str, ...]:
    """Keys of the first lines; a line that is no object is a bad row later."""
    text = head.lstrip()
    if text.startswith(b"["):
        raise InvalidData(f"data: {shown!r} is one JSON array; write one object a line: jq -c '.[]' file > file.jsonl")
    columns: dict[str, None] = {}
    lines = head.split(b"\n")
    for line in lines[:1000] if len(lines) == 1 else lines[:-1][:1000]:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            columns |= dict.fromkeys(document)
    if text and not columns:
        raise InvalidData(f"data: {shown!r}: no line of its beginning is a JSON object; expected one object a line")
    return tuple(columns)


def _parquet_columns(path: Path, shown: str) -> tuple[str, ...]:
    try:
        schema = pl.read_parquet_schema(path)
    except (PolarsError, OSError) as error:
        raise InvalidData(f"data: {shown!r} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from error
    return tuple(name for name, dtype in schema.items() if not dtype.is_nested() and dtype != pl.Binary)


def _check_columns(source: Source, spec: DatasetSpec) -> None:
    for field in ("text_column", "label_column", "group_column", "split_column"):
        name = getattr(spec, field)
        if name and name not in source.columns:
            if source.kind == "parquet" and name in (schema := pl.read_parquet_schema(source.path)):
                raise InvalidData(
                    f"{field}: column {name!r} in {source.shown!r} holds {schema[name]}; expected text, numbers or "
                    "booleans: cast it first"
                )
            raise InvalidData(
                f"{field}: no column {name!r} in {source.shown!r}; it has {', '.join(source.columns[:20])}"
                f"{nearest(name, source.columns)}"
            )


def _blocks(source: Source, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and bytes of blocks of whole records."""
    find_end = _csv_end if source.kind == "csv" else _line_end
    try:
        with OPENERS[source.compression](source.path) as file:
            _skip(file, source.start)
            position, carry = source.start, b""
            while fresh := file.read(max(size - len(carry), size // 2)):
                data = carry + fresh
                end = find_end(data)
                if end == 0 and len(data) >= MAX_RECORD_BYTES:
                    end = _line_end(data) or len(data)  # the parser finds the open quote and goes on behind it
                if end:
                    yield position, position + end, data[:end]
                position, carry = position + end, data[end:]
            if carry.strip():
                yield position, position + len(carry), carry
    except BROKEN as error:
        raise InvalidData(f"data: {source.shown!r} cannot be read to its end: {error}") from error


def _skip(file: BinaryIO, count: int) -> None:
    while count > 0:
        count -= len(file.read(min(count, HEAD_BYTES))) or count


def _line_end(data: bytes) -> int:
    return data.rfind(b"\n") + 1


def _csv_end(data: bytes) -> int:
    """The last line break outside quotes: an even number of quotes stands in front of it."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while quotes % 2 and end:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end


def _read_parquet(piece: Piece) -> Iterator[Parsed]:
    at = 1
    columns = [name for name in piece.columns if name != "_row"]
    numbered = len(columns) < len(piece.columns)  # a file of an earlier stage: rows keep their numbers
    lazy = pl.scan_parquet(piece.path).select(pl.col(columns).cast(pl.String), *([pl.col("_row")] if numbered else []))
    try:
        for frame in lazy.collect_batches(chunk_size=PARQUET_ROWS, maintain_order=True):
            if not numbered:
                frame = frame.with_columns(pl.int_range(at, at + len(frame), dtype=pl.UInt32, eager=True).alias("_row"))
            at += len(frame)
            yield Parsed(frame, pl.DataFrame(schema=BAD_SCHEMA), len(frame))
    except PolarsError as error:
        raise InvalidData(f"data: {piece.path.name!r} cannot be read to its end: {str(error)[:200]}") from error
