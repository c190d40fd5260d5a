"""Rows that stand for files: what they name is read beside them, a bounded number of bytes at a time."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from shipway.components.prep.columns import USER
from shipway.components.prep.parse import RAW_CHARS, Bad, Parsed, bad_frame
from shipway.inputs.base import FileColumn
from shipway.storage.trees import Contents

FRAME_ROWS = 1_024


def with_files(parsed: Parsed, place: str, column: FileColumn | None, frame_bytes: int) -> Iterator[Parsed]:
    """The rows with their files' bytes, in frames of about `frame_bytes`; a row whose file is not there is a bad one.

    Args:
        parsed: Rows with the column of paths.
        place: Folder or `s3://` prefix that paths are relative to.
        column: The paths' column, and the one that is added.
    """
    assert column is not None
    frame = parsed.frame
    paths: list[str | None] = frame.get_column(f"{USER}{column.path_column}").to_list()
    numbers: list[int] = frame.get_column("_row").to_list()
    whole = replace(parsed, frame=frame.clear(), records=len(parsed.bad))
    contents: list[bytes | None] = []
    bad: list[Bad] = []
    held = start = 0
    for at, data in enumerate(Contents(place, column.max_bytes).read(paths), 1):
        if isinstance(data, str):
            bad.append((numbers[at - 1], f"{paths[at - 1] or ''}"[:RAW_CHARS], data))
            contents.append(None)
        else:
            contents.append(data)
            held += len(data)
        if held >= frame_bytes or at - start >= FRAME_ROWS or at == len(frame):
            cells = pl.Series(f"{USER}{column.content}", contents, dtype=pl.Binary)
            rows = frame.slice(start, at - start).with_columns(cells).filter(cells.is_not_null())
            wrong = pl.concat([whole.bad, bad_frame(bad)])
            yield replace(whole, frame=rows, bad=wrong, records=whole.records + at - start)
            whole = Parsed(frame.clear(), bad_frame([]), 0)
            contents, bad, held, start = [], [], 0, at
    if whole.records:
        empty = whole.frame.with_columns(pl.Series(f"{USER}{column.content}", [], dtype=pl.Binary))
        yield replace(whole, frame=empty)


def as_bytes(parsed: Parsed, contents: tuple[str, ...]) -> Parsed:
    """The rows with cells of base64 decoded; what is none stays as it is, for the input to say what it is."""
    texts = [
        cells for name in contents
        if (cells := parsed.frame.get_column(_named(name, parsed.frame))).dtype == pl.String
    ]  # fmt: skip
    decoded = [pl.Series(cells.name, [_decoded(cell) for cell in cells], dtype=pl.Binary) for cells in texts]
    return replace(parsed, frame=parsed.frame.with_columns(decoded)) if decoded else parsed


def _named(column: str, frame: pl.DataFrame) -> str:
    return f"{USER}{column}" if f"{USER}{column}" in frame.columns else column


def _decoded(cell: str | None) -> bytes | None:
    if cell is None:
        return None
    text = cell.partition(",")[2] if cell.startswith("data:") else cell
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except (binascii.Error, ValueError):
        return cell.encode()
