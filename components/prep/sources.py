"""Files of a source, and their cut into pieces of whole records that any process can read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars import selectors
from polars.exceptions import PolarsError

from shipway.components.prep.columns import OURS, USER, outgoing
from shipway.components.prep.content import Content, reading
from shipway.components.prep.files import as_bytes, with_files
from shipway.components.prep.heads import Source, check_columns, open_source
from shipway.components.prep.json_lines import is_cut, parse_jsonl
from shipway.components.prep.parse import MAX_RECORD_LINES, RAW_CHARS, Parsed, bad_frame, lacks_fields, parse_csv
from shipway.components.prep.quoting import open_field, quoted_field
from shipway.components.prep.schema import schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from shipway.storage.folders import readable
from shipway.storage.local import disk_error

PIECE_BYTES = 8 << 20
MAX_RECORD_BYTES = 64 << 20
PARQUET_ROWS = 50_000
FRAME_BYTES = 16 << 20  # of a frame whose cells are files
NAMES_BYTES = 64 << 10  # of a table whose rows name files: about a thousand of them


@dataclass(frozen=True)
class Piece:
    """Whole records of one file.

    Attributes:
        number: Position among all pieces of the dataset; `(number, row)` orders the rows as they were given.
        source: Position of the file among the sources.
        file: What is known of it.
        path: The file itself, or a scratch file with decompressed records (`is_scratch`).
    """

    number: int
    source: int
    file: Source
    path: Path
    start: int = 0
    end: int = 0
    is_scratch: bool = False


def find_sources(files: Sequence[Path], spec: DatasetSpec) -> list[Source]:
    """The files of a source, opened far enough to know their columns.

    Args:
        files: As `shipway.storage.sources.fetch_source` gives them.

    Raises:
        InvalidData: one cannot be read, or lacks a column; names the columns there are.
    """
    sources = []
    for path, shown in _shown(files).items():
        with reading(shown):
            sources.append(open_source(path, shown, spec))
    tables = [source for source in sources if source.columns]
    if not tables:
        what = "is empty" if all(path.stat().st_size == 0 for path in files) else "has no rows in it"
        raise InvalidData(f"{spec.data!r} {what}", field="data", given=spec.data, allowed="a header and rows")
    for source in tables:
        check_columns(source, spec)
    return tables


def empty_files(files: Sequence[Path], sources: list[Source]) -> dict[str, str]:
    """The files that hold nothing, not even a header, by name; a run or a copy that failed may have left them."""
    read = {source.path for source in sources}
    return {
        shown: "it has no rows in it" if path.stat().st_size else "it is empty"
        for path, shown in _shown(files).items()
        if path not in read
    }


def _shown(files: Sequence[Path]) -> dict[Path, str]:
    folder = os.path.commonpath([path.parent for path in files]) if files else ""
    return {path: readable(os.path.relpath(path, folder)) for path in files}


def all_columns(sources: list[Source]) -> list[str]:
    """The union of the files' columns, in the order of their first appearance."""
    return list(dict.fromkeys(column for source in sources for column in source.columns))


def row_columns(sources: list[Source], spec: DatasetSpec) -> list[str]:
    """The columns of the dataset's row files."""
    return [*schema_of(spec).names, *OURS, *other_columns(sources, spec)]


def other_columns(sources: list[Source], spec: DatasetSpec) -> list[str]:
    """Those without a role, as the row files call them."""
    schema = schema_of(spec)
    used = {*schema.sources.values(), spec.label_column, spec.group_column, spec.split_column}
    return [outgoing(name, schema.names) for name in all_columns(sources) if name not in used]


def cut(sources: list[Source], scratch: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Piece]:
    """Pieces of about `piece_bytes`, in order; compressed files are decompressed into `scratch` as they come."""
    number = 0
    for index, source in enumerate(sources):
        if source.is_whole:
            yield Piece(number, index, source, source.path)
            number += 1
            continue
        for start, end, data in _blocks(source, NAMES_BYTES if source.place else piece_bytes):
            if source.compression:
                path = scratch / f"piece-{number:06d}"
                try:
                    path.write_bytes(data)
                except OSError as error:
                    raise disk_error(error, path) from error
                yield Piece(number, index, source, path, 0, len(data), is_scratch=True)
            else:
                yield Piece(number, index, source, source.path, start, end)
            number += 1


def read(piece: Piece) -> Iterator[Parsed]:
    """The records of a piece; more than one frame where they come in many, as Parquet's do, or bring files along.

    Raises:
        InvalidData: whatever a library raises over it.
    """
    for parsed in _parsed(piece):
        if piece.file.place:
            yield from with_files(parsed, piece.file.place, piece.file.files, FRAME_BYTES)
        else:
            yield as_bytes(parsed, piece.file.contents)


def _parsed(piece: Piece) -> Iterator[Parsed]:
    file = piece.file
    where = f" (bytes {piece.start:,} to {piece.end:,})" if not file.is_whole and not piece.is_scratch else ""
    with reading(file.shown, where):
        if file.is_whole:
            yield from _read_whole(file)
            return
        with piece.path.open("rb") as opened:
            opened.seek(piece.start)
            block = opened.read(piece.end - piece.start)
        if piece.is_scratch:
            piece.path.unlink()
        if file.kind == "csv":
            names = [f"{USER}{name}" for name in file.columns]
            yield _without_headers(parse_csv(block, names, file.delimiter, file.quoting), file)
        else:
            yield parse_jsonl(block, list(file.columns), file.roles, USER, file.lists)


def _without_headers(parsed: Parsed, file: Source) -> Parsed:
    """The header of a file that was put behind another one is no row."""
    is_header = pl.all_horizontal(pl.col(f"{USER}{name}").str.strip_chars(" \ufeff") == name for name in file.roles)
    headers = parsed.frame.select(is_header.fill_null(False)).to_series()
    if not headers.any():
        return parsed
    raw, reason = file.delimiter.join(file.columns)[:RAW_CHARS], "the header again"
    bad = [parsed.bad, bad_frame([(row, raw, reason) for row in parsed.frame.filter(headers).get_column("_row")])]
    return replace(parsed, frame=parsed.frame.filter(~headers), bad=pl.concat(bad).sort("_row"))


def _blocks(source: Source, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and bytes of blocks of whole records."""
    position, carry = source.start, b""
    with reading(source.shown), Content(source.path, source.shown, source.compression) as content:
        content.read(source.start)
        while fresh := content.read(max(size - len(carry), size // 2)):
            data = carry + fresh
            end = _end_of_records(data, source)
            if end == 0 and len(data) >= MAX_RECORD_BYTES:
                end = data.find(b"\n") + 1  # the parser finds the open quote and goes on behind its line
                if not end:
                    raise InvalidData(
                        f"{source.shown!r} has a line of more than {MAX_RECORD_BYTES >> 20} MiB behind "
                        f"{content.lines:,} lines",
                        field="data",
                        given=source.shown,
                        allowed="one row a line",
                    )
            if end:
                yield position, position + end, data[:end]
            position, carry = position + end, data[end:]
        if (
            is_cut(carry)
            if source.kind == "jsonl"
            else lacks_fields(carry, len(source.columns), source.delimiter, source.quoting)
        ):
            raise InvalidData(
                f"{source.shown!r} ends in the middle of a record, behind {content.lines:,} whole lines: "
                "it was cut; copy it again (if it is whole, end its last line with a line break)",
                field="data",
                given=source.shown,
            )
        if carry.strip():
            yield position, position + len(carry), carry


def _end_of_records(data: bytes, source: Source) -> int:
    """Behind the last line break that ends a record, by the rules of the parser; 0 where none does."""
    if source.kind == "csv" and source.quoting.mode == "csv" and b'"' in data:
        delimiter = source.delimiter.encode()
        data = quoted_field(delimiter).sub(lambda field: b"x" * len(field[0]), data)
        unclosed = open_field(delimiter).search(data)
        if unclosed and data.count(b"\n", unclosed.start()) <= MAX_RECORD_LINES:
            return data.rfind(b"\n", 0, unclosed.start()) + 1
    return data.rfind(b"\n") + 1


def _read_whole(file: Source) -> Iterator[Parsed]:
    at = 1
    try:
        for frame in _frames(file):
            rows = pl.int_range(at, at + len(frame), dtype=pl.UInt32, eager=True)
            at += len(frame)
            yield _as_texts(frame, rows, file)
    except PolarsError as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidData(
            f"{file.shown!r} cannot be read behind row {at - 1:,}: {reason}", field="data", given=file.shown
        ) from error


def _frames(file: Source) -> Iterator[pl.DataFrame]:
    wanted = selectors.by_name(*file.columns)
    if file.read is not None:
        return (frame.select(wanted) for frame in file.read(file.path))
    lazy = pl.scan_parquet(file.path, glob=False)
    schema = lazy.collect_schema()
    rows = PARQUET_ROWS
    if pl.Binary in schema.dtypes() or file.binary:  # files, each of which may be large
        count = int(lazy.select(pl.len()).collect().item())
        rows = max(min(PARQUET_ROWS, count * FRAME_BYTES // max(file.path.stat().st_size, 1)), 1)
    inner = [pl.col(name).struct.field("bytes").alias(name) for name in file.binary if schema[name].is_nested()]
    return lazy.select(wanted).with_columns(inner).collect_batches(chunk_size=rows, maintain_order=True)


def _as_text(cell: pl.Series) -> pl.Series:
    """Its values as text; lists, which only a label may be, as JSON."""
    if not cell.dtype.is_nested():
        return cell.cast(pl.String)
    texts = [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in cell.to_list()]
    return pl.Series(cell.name, texts, dtype=pl.String)


def _as_texts(frame: pl.DataFrame, rows: pl.Series, file: Source) -> Parsed:
    """All columns as strings, but for bytes; NaN and Infinity are no input, label, group or split."""
    cells = [frame.get_column(name) for name in file.columns]
    cells = [cell if cell.dtype == pl.Binary else _as_text(cell) for cell in cells]
    texts = pl.DataFrame([*(cell.alias(f"{USER}{cell.name}") for cell in cells), rows.alias("_row")])
    bad = [bad_frame([])]
    for name in file.roles:
        if name in file.columns and frame.get_column(name).dtype.is_float():
            wrong = ~frame.get_column(name).is_finite().fill_null(True)
            if wrong.any():
                kind = pl.col(f"{USER}{name}").str.replace("inf", "Infinity", literal=True).alias("raw")
                reason = pl.format("column {} holds {}, expected text", pl.lit(repr(name)), kind).alias("reason")
                bad.append(texts.filter(wrong).select("_row", kind, reason))
                texts, frame = texts.filter(~wrong), frame.filter(~wrong)
    unparsed = pl.concat(bad)
    return Parsed(texts, unparsed, len(texts) + len(unparsed))
