"""Blocks of CSV and JSON lines: every record is a row or a named bad one, whatever the file looks like."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.components.prep.json_lines import parse_jsonl
from shipway.components.prep.parse import MAX_RECORD_LINES, UNCLOSED, Parsed, parse_csv

COLUMNS = ["text", "label"]
fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1, max_size=12)


def rows(parsed: Parsed) -> list[tuple[object, ...]]:
    return parsed.frame.select("_row", "text", "label").rows()


def bad(parsed: Parsed) -> list[tuple[int, str]]:
    return parsed.bad.select("_row", "reason").rows()


@settings(deadline=None)
@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_what_a_csv_writer_wrote_is_read_back(table: list[tuple[str, str]], delimiter: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(table)
    parsed = parse_csv(file.getvalue().encode(), COLUMNS, delimiter)
    assert rows(parsed) == [(number, *row) for number, row in enumerate(table, 1)]
    assert bad(parsed) == []


@pytest.mark.parametrize(
    ("block", "good", "wrong"),
    [
        (b"a,x\nb\nc,y\n", [(1, "a", "x"), (3, "c", "y")], [(2, "1 fields, expected 2")]),
        (b"a,x\nb,y,z\n", [(1, "a", "x")], [(2, "3 fields, expected 2")]),
        (b"a,x\n\xffb,y\n", [(1, "a", "x")], [(2, "not UTF-8: byte 0xff")]),
        (b"a,x\n\n\nb,y\n", [(1, "a", "x"), (2, "b", "y")], []),
        (b"a,x\r\nb,y\r\n", [(1, "a", "x"), (2, "b", "y")], []),
        (b'"a\nb",x\n"c ""d"", e",y\n', [(1, "a\nb", "x"), (2, 'c "d", e', "y")], []),
        (b'27" screen,x\nb,y\n', [(1, '27" screen', "x"), (2, "b", "y")], []),
        (b'a,x\nscreen of 27",x\nb,y\n', [(1, "a", "x"), (2, 'screen of 27"', "x"), (3, "b", "y")], []),
        (b'a,x\n"b,y\nc,z\nd,z\n', [(1, "a", "x"), (3, "c", "z"), (4, "d", "z")], [(2, UNCLOSED)]),
        (b"a,\n,y\n", [(1, "a", None), (2, None, "y")], []),
        (b"a,x", [(1, "a", "x")], []),
    ],
    ids=[
        "too few fields",
        "too many fields",
        "not UTF-8",
        "blank lines",
        "CRLF",
        "line break and quotes inside quotes",
        "inches at the beginning",
        "inches at the end of a field",
        "a quote that never closes",
        "empty fields",
        "no line break at the end",
    ],
)
def test_irregular_csv(block: bytes, good: list[tuple[object, ...]], wrong: list[tuple[int, str]]) -> None:
    parsed = parse_csv(block, COLUMNS, ",")
    assert rows(parsed) == good
    assert bad(parsed) == wrong
    assert parsed.records == len(good) + len(wrong)


def test_an_open_quote_swallows_no_more_than_its_own_line() -> None:
    many = b"".join(b"text %d,x\n" % number for number in range(MAX_RECORD_LINES + 10))
    parsed = parse_csv(b'"open,x\n' + many + b'"closed, at last",y\n', COLUMNS, ",")
    assert bad(parsed) == [(1, UNCLOSED)]
    assert len(parsed.frame) == MAX_RECORD_LINES + 11


@settings(deadline=None)
@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=8))
def test_json_lines_are_read_back(table: list[tuple[str, str]]) -> None:
    block = "".join(json.dumps({"text": a, "label": b, "more": 1}) + "\n" for a, b in table).encode()
    parsed = parse_jsonl(block, COLUMNS)
    assert rows(parsed) == [(number, *row) for number, row in enumerate(table, 1)]


def test_bad_json_lines_are_named() -> None:
    block = b'{"text": "a", "label": 3}\n{"text": \n[1]\n\n{"text": "b\xff", "label": "x"}\n{"label": {"k": 1}}\n'
    parsed = parse_jsonl(block, COLUMNS)
    assert rows(parsed) == [(1, "a", "3"), (5, None, '{"k": 1}')]
    assert [(row, reason.partition(":")[0]) for row, reason in bad(parsed)] == [
        (2, "not JSON"),
        (3, "a JSON list, expected an object"),
        (4, "not UTF-8"),
    ]
