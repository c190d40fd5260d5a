"""Whether quotes enclose a file's fields: what a person set, or what the file's beginning shows.

A field is quoted when it begins with a quote and a delimiter or the line's end follows the quote that closes it (RFC
4180; quotes inside are doubled). Files of no quoting, as TSV is by custom, have quotes that are characters like any
other: two lines that begin with one would pair up and swallow all between them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

SAMPLE_BYTES = 256 << 10

Mode = Literal["csv", "none"]


@dataclass(frozen=True)
class Quoting:
    """How a file's quotes are read.

    Attributes:
        mode: `csv`: they enclose fields; `none`: they are characters.
        trusts_lines: A quoted field whose lines all read as rows of their own is believed to be one field.
        why: What a person should know of the choice; empty where there was none to make.
        label_at, labels: Position of the label among a row's fields, and those of the rows without quotes.
    """

    mode: Mode = "csv"
    trusts_lines: bool = True
    why: str = ""
    label_at: int = 0
    labels: frozenset[bytes] = frozenset()

    def reads_as_rows(self, lines: list[bytes], delimiter: bytes, width: int) -> bool:
        """Whether each line has just the fields of a row, and half of them a label that other rows have, too.

        Lines of a letter may all hold one comma; what stands behind it is no label.
        """
        rows = [line.removesuffix(b"\r").split(delimiter) for line in lines]
        if any(len(row) != width for row in rows):
            return False
        return 2 * sum(row[self.label_at] in self.labels for row in rows) >= len(rows)


@lru_cache(maxsize=64)
def quoted_field(delimiter: bytes) -> re.Pattern[bytes]:
    """A whole quoted field, wherever a field may begin."""
    d = re.escape(delimiter)
    return re.compile(rb"(?:(?<=[" + d + rb'\n])|\A)"[^"]*+(?:""[^"]*+)*+"(?=' + d + rb"|\r?\n|\r?\Z)")


@lru_cache(maxsize=64)
def open_field(delimiter: bytes) -> re.Pattern[bytes]:
    """A quoted field that has not closed by the text's end."""
    return re.compile(_opening(delimiter).pattern + rb'[^"]*+(?:""[^"]*+)*+\Z')


@lru_cache(maxsize=64)
def _opening(delimiter: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:(?<=[" + re.escape(delimiter) + rb'\n])|\A)"')


def detect(
    sample: bytes, delimiter: bytes, width: int, label_at: int, *, header_is_quoted: bool, is_tab: bool
) -> Quoting:
    """What the rows at a file's beginning show; `sample` has no header.

    Quotes enclose fields where some field needs them (a delimiter, a doubled quote or a line break inside), the header
    has them, or half of the rows do. Without any such sign, a quote that closes nothing decides for `none`.
    """
    sample = sample[:SAMPLE_BYTES]
    labels = _labels(sample, delimiter, width, label_at)
    unclear = Quoting(trusts_lines=False, label_at=label_at, labels=labels)
    opening = _opening(delimiter)
    if not opening.search(sample):
        return unclear
    quoted = needed = across = doubtful = 0
    for match in quoted_field(delimiter).finditer(sample):
        quoted += 1
        inside = match[0][1:-1]
        if b"\n" in inside:
            is_rows = unclear.reads_as_rows(_whole_lines(sample, match.start(), match.end()), delimiter, width)
            doubtful += is_rows
            across += not is_rows
        elif delimiter in inside or b'""' in inside:
            needed += 1
    stray = len(opening.findall(quoted_field(delimiter).sub(b"", sample)))
    if len(sample) == SAMPLE_BYTES and stray:
        stray -= 1  # the field at the sample's end may close behind it
    by_custom = header_is_quoted or 2 * quoted >= sample.count(b"\n")
    if needed or across or by_custom:
        return replace(unclear, trusts_lines=bool(across) or (by_custom and not stray))
    if stray or doubtful:
        return Quoting(
            "none",
            why=f"{stray + 2 * doubtful} fields of its beginning open with a quote, and none shows that quotes enclose "
            "fields: quotes are read as characters (quoting=csv reads them otherwise)",
        )
    if is_tab:
        return Quoting("none", why="a TSV, which by custom has no quoting: quotes are read as characters")
    return unclear


def _labels(sample: bytes, delimiter: bytes, width: int, label_at: int) -> frozenset[bytes]:
    """The labels of the rows outside all quoted fields of several lines."""
    outside = quoted_field(delimiter).sub(lambda match: b'"' if b"\n" in match[0] else match[0], sample)
    rows = (line.removesuffix(b"\r").split(delimiter) for line in outside.split(b"\n") if b'"' not in line)
    return frozenset(row[label_at] for row in rows if len(row) == width)


def _whole_lines(data: bytes, start: int, end: int) -> list[bytes]:
    first = data.rfind(b"\n", 0, start) + 1
    last = data.find(b"\n", end)
    return data[first : last if last >= 0 else len(data)].split(b"\n")
