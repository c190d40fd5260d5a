"""What a file holds is read whole and in one way, or refused in one line: nothing is lost or changed in silence."""

from __future__ import annotations

import bz2
import decimal
import gzip
import io
import json
import lzma
import zipfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import zstandard

from shipway.components.prep import sources
from shipway.components.prep.json_lines import parse_jsonl
from shipway.components.prep.parse import PAIRED, UNCLOSED
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from tests.fixtures.rows import HEADER, PLAIN, read, table, written

# Quotes


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize(("first", "second"), [(3, 30), (0, 1), (10, 199)])
def test_two_lines_that_begin_with_a_stray_quote_swallow_no_row(
    tmp_path: Path, delimiter: str, first: int, second: int
) -> None:
    lines = list(PLAIN)
    lines[first] = '"nice" lamp,on' if first == 0 else '"lamp,on'
    lines[second] = '"lamp of 27,off'
    good, bad, source = read(written(tmp_path, "rows.csv", table(lines, delimiter)), delimiter=delimiter)
    assert bad == []
    assert good == [tuple(line.split(",")) for line in lines]
    assert source.quoting.mode == "none"
    assert "quoting=csv" in source.quoting.why


def test_a_pair_of_quotes_that_looks_like_a_field_swallows_no_row(tmp_path: Path) -> None:
    lines = list(PLAIN)
    lines[5], lines[60] = '"lamp,on', 'screen of 27",off'
    good, bad, _ = read(written(tmp_path, "rows.csv", table(lines)))
    assert (len(good), bad) == (200, [])
    late = ["lamp,on"] * 60_000 + lines  # behind what the choice is made from
    good, bad, _ = read(written(tmp_path, "rows.csv", table(late)))
    assert (len(good), bad) == (60_198, [(60_006, PAIRED), (60_061, PAIRED)])


def test_stray_quotes_beside_quoted_fields_are_set_aside_with_a_reason(tmp_path: Path) -> None:
    lines = list(PLAIN)
    lines[5], lines[40], lines[60] = '"lamp,on', '"hello, ""world""",on', '"lamp,off'
    good, bad, source = read(written(tmp_path, "rows.csv", table(lines)))
    assert (len(good), bad) == (198, [(6, UNCLOSED), (61, UNCLOSED)])
    assert ('hello, "world"', "on") in good
    assert source.quoting.mode == "csv"


def test_fields_of_several_lines_are_read_where_the_file_quotes(tmp_path: Path) -> None:
    letters = ['"Dear sir,\nno light, no heat\nbye",on', '"one, two\nthree",off']
    good, bad, _ = read(written(tmp_path, "rows.csv", table([*PLAIN, *letters])))
    assert bad == []
    assert good[-2:] == [("Dear sir,\nno light, no heat\nbye", "on"), ("one, two\nthree", "off")]
    quoted = ['"a, b\nc","on"'] * 20  # each line alone reads as a row; that all fields are quoted says they are not
    assert read(written(tmp_path, "all.csv", '"text","label"\n' + "\n".join(quoted)))[0] == [("a, b\nc", "on")] * 20


def test_what_a_person_sets_is_what_counts(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", table(['"lamp",on', '"a, b\nc",off']))
    assert read(path, quoting="csv")[0] == [("lamp", "on"), ("a, b\nc", "off")]
    good, bad, _ = read(path, quoting="none")
    assert good == [('"lamp"', "on"), ('c"', "off")] or good[0] == ('"lamp"', "on")
    assert bad == [] or "quotes are read as characters" in bad[0][1]
    assert read(written(tmp_path, "rows.tsv", table(['"lamp"\ton'] + ["x\toff"] * 9, "\t")))[0][0] == ('"lamp"', "on")


# Types


def test_what_is_no_text_in_a_column_with_a_role_goes_to_quarantine(tmp_path: Path) -> None:
    lines = [f'{{"text": "a", "label": {value}}}' for value in ("1.0", "1", "true", "1e5", "null", '"x"')]
    wrong = [f'{{"text": "a", "label": {value}}}' for value in ("NaN", "-Infinity", '["a"]', '{"name": "b"}')]
    wrong += ['{"text": ["b"], "label": "x"}', '{"text": {"b": 1}, "label": "x"}']
    good, bad, _ = read(written(tmp_path, "rows.jsonl", "\n".join([*lines, *wrong])))
    assert [label for _, label in good] == ["1.0", "1", "true", "1e5", None, "x"]
    kinds = ["NaN", "-Infinity", "list", "object"]
    expected = [f"column 'label' holds a JSON {kind}, expected text" for kind in kinds]
    assert [reason for _, reason in bad[:4]] == expected
    assert [reason for _, reason in bad[4:]] == [f"column 'text' holds a JSON {k}, expected text" for k in kinds[2:]]
    pl.DataFrame({"text": ["a", "b", "c"], "label": [1.5, float("nan"), None]}).write_parquet(tmp_path / "rows.parquet")
    good, bad, _ = read(tmp_path / "rows.parquet")
    assert good == [("a", "1.5"), ("c", None)]
    assert bad == [(2, "column 'label' holds NaN, expected text")]


def test_unused_columns_of_any_type_do_no_harm_and_those_left_out_are_named(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", "b"],
            "label": ["x", "y"],
            "price": [decimal.Decimal("1.50"), None],
            "took": [timedelta(seconds=1), None],
            "parts": [[1], []],
            "where": [{"city": {"name": "B"}}, None],
            "map": [[{"key": "k", "value": 1}], None],
            "raw": [b"\xff", None],
            "kind": pl.Series(["a", None], dtype=pl.Categorical),
            "nothing": [None, None],
            "pair": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
            "huge": pl.Series([2**100, None], dtype=pl.Int128),
        }
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    good, bad, source = read(tmp_path / "rows.parquet")
    assert (good, bad) == ([("a", "x"), ("b", "y")], [])
    assert {name.partition(" ")[0] for name in source.left_out} == {"took", "parts", "where", "map", "raw", "pair"}


def test_a_number_that_is_none_is_no_label(tmp_path: Path) -> None:
    labels = [1.5, float("inf"), float("-inf")]
    pl.DataFrame({"text": ["a", "b", "c"], "label": labels}).write_parquet(tmp_path / "rows.parquet")
    good, bad, _ = read(tmp_path / "rows.parquet")
    assert good == [("a", "1.5")]
    assert [reason for _, reason in bad] == [
        f"column 'label' holds {kind}Infinity, expected text" for kind in ("", "-")
    ]


def test_the_name_of_a_parquet_file_is_no_pattern(tmp_path: Path) -> None:
    for name, text in (("rows[1].parquet", "mine"), ("rows1.parquet", "another file's"), ("a*.parquet", "star")):
        pl.DataFrame({"text": [text], "label": ["x"]}).write_parquet(tmp_path / name)
    assert read(tmp_path / "rows[1].parquet")[0] == [("mine", "x")]
    assert read(tmp_path / "a*.parquet")[0] == [("star", "x")]


def test_a_header_that_stands_there_again_is_no_row(tmp_path: Path) -> None:
    body = "".join(f"{line}\n" for line in PLAIN)
    for again in (HEADER, f"\ufeff{HEADER}"):
        good, bad, _ = read(written(tmp_path, "rows.csv", HEADER + body + again + body))
        assert (len(good), bad) == (400, [(201, "the header again")])


def test_columns_that_come_late_in_json_lines_are_counted_and_not_called_missing(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": "b"}'] * 1_200
    path = written(
        tmp_path, "rows.jsonl", "\n".join([*lines, '{"text": "a", "label": "b", "city": "B", "no": null}\n'])
    )
    spec = DatasetSpec(name="bot", data=str(path))
    [piece] = sources.cut(sources.find_sources([path], spec), tmp_path)
    [parsed] = sources.read(piece)
    assert dict(parsed.unread) == {"city": 1}
    late = written(tmp_path, "late.jsonl", '{"text": "a"}\n' * 1_000 + lines[0])
    with pytest.raises(InvalidData, match=r"no column 'label' in the first 1,000 lines of 'late.jsonl'"):
        read(late)


def test_json_that_breaks_a_reader_is_a_bad_row(tmp_path: Path) -> None:
    deep, wide = "[" * 100_000, "9" * 10_000
    lines = [
        '{"text": "fine", "label": "x"}',
        '{"text": "a", "label": "x", "more": ' + deep + "}",
        '{"text": "a", "label": "x", "more": ' + '{"a":' * 900 + "1" + "}" * 900 + "}",
        '{"text": "\\ud800", "label": "x"}',
        '{"text": "\\ud83d\\ude00", "label": "x"}',
        '{"text": "a", "label": "x", "label": "y"}',
        '{"text": "a", "label": ' + wide + "}",
    ]
    good, bad, _ = read(written(tmp_path, "rows.jsonl", "\n".join(lines) + "\n"))
    assert ("\U0001f600", "x") in good
    assert ("a", wide) in good
    reasons = dict(bad)
    assert reasons[2] == "JSON nested too deeply"
    assert "surrogate" in reasons[4]
    assert reasons[6] == "the key 'label' stands twice in the object"


@pytest.mark.parametrize("broken", ["", "no JSON", '{"text": "z"', '{"text": "é", "label": 1}'])
def test_a_row_means_the_same_whatever_stands_beside_it(broken: str) -> None:
    lines = ['{"text": "a", "label": 1.0}', '{"text": "b", "label": 12345678901234567890123}', '{"text": 1e5}']
    alone = parse_jsonl("\n".join(lines).encode(), ["text", "label"]).frame.drop("_row").rows()
    beside = parse_jsonl("\n".join([*lines, broken]).encode(), ["text", "label"]).frame.drop("_row").rows()
    assert beside[:3] == alone == [("a", "1.0"), ("b", "12345678901234567890123"), ("1e5", None)]


# What it is, by its bytes


def zipped(inside: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(inside, "text,label\n")
    return out.getvalue()


def parquet() -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"text": ["a"], "label": ["b"]}).write_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(table(PLAIN).encode()), "is compressed with gzip; name it rows.csv.gz"),
        (bz2.compress(table(PLAIN).encode()), "is compressed with bzip2; name it rows.csv.bz2"),
        (lzma.compress(table(PLAIN).encode()), "is compressed with xz; name it rows.csv.xz"),
        (zstandard.compress(table(PLAIN).encode()), "is compressed with zstd; name it rows.csv.zst"),
        (zipped("rows.csv"), "is a zip archive; unpack it"),
        (zipped("xl/workbook.xml"), "is an Excel workbook; save it as CSV UTF-8"),
        (parquet(), "is Parquet; name it rows.csv.parquet, or give overrides.dataset.format=parquet"),
        (table(PLAIN).encode("utf-16"), "is UTF-16; convert it: iconv -f UTF-16 -t UTF-8"),
        (table(PLAIN).encode("utf-16-le"), "is UTF-16LE; convert it"),
        (table(PLAIN).encode("utf-32"), "is UTF-32; convert it"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page .HTML."),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is XML, perhaps a server's error"),
        (b"text,label\ra,b\rc,d\r", "has the line ends of old Macs"),
        (b"text,label\ra,b\rc,d\r\n", "has the line ends of old Macs"),
        (b"text,label\na,b\rc,d\re,f", "has the line ends of old Macs"),
        (b"text,label\n\0\1\2", "it holds NUL bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "is a pointer of Git LFS .*git lfs pull"),
        (b"/annex/objects/MD5E-s1--aa.csv\n", "is a pointer of git-annex .*git annex get rows.csv"),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else "",
)
def test_content_that_its_name_does_not_say_is_named_for_what_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InvalidData, match=f"data: 'rows.csv' {says}|'rows.csv' .*{says}") as caught:
        read(written(tmp_path, "rows.csv", content))
    assert "\n" not in str(caught.value)


# Names


OURS = ["_row", "_piece", "_row_hash", "_content_hash", "_group_hash", "_reason", "_side", "_label", "raw", "reason"]
OURS += ["text", "group", "split", "row_id", "source_label", "source_text", "row_nr", "__index__", "*", "^.*$"]
OURS += ["in:text", "in:label", "in:_row", "source_", "source__row", "__label", "__value", "__predicted"]
OURS += ["group_hash", "predicted", "probability", "label_probability", "probabilities", "champion", "index", "len"]


def test_no_column_name_of_a_user_meets_ours() -> None:
    from shipway.components.prep.columns import OURS as KEPT
    from shipway.components.prep.columns import SCORED, outgoing

    inputs = ("text", "pixels")
    names = [
        *OURS,
        *(f"source_{name}" for name in OURS),
        *(outgoing(outgoing(name, inputs), inputs) for name in OURS),
        "",
        "a",
        "é",
        *inputs,
    ]
    given = list(dict.fromkeys(names))
    after = [outgoing(name, inputs) for name in given]
    assert len(set(after)) == len(given)
    assert not set(after) & {*inputs, *KEPT, *SCORED, "", "*"}
    assert not [name for name in after if name.startswith(("_", "^", "in:"))]


def test_a_row_is_read_under_every_internal_name(tmp_path: Path) -> None:
    names = [name for name in dict.fromkeys(OURS) if name != "text"]
    row = {"utterance": "a", "intent": "b", **{name: f"value of {name}" for name in names}, "label": "mine"}
    roles = {"input": {"column": "utterance"}, "label_column": "intent"}
    text = ",".join(row) + "\n" + ",".join(row.values()) + "\n"
    pl.DataFrame({name: [value] for name, value in row.items()}).write_parquet(tmp_path / "rows.parquet")
    for path in (
        written(tmp_path, "rows.csv", text),
        written(tmp_path, "rows.jsonl", json.dumps(row) + "\n"),
        tmp_path / "rows.parquet",
    ):
        spec = DatasetSpec(name="bot", data=str(path), **roles)  # type: ignore[arg-type]
        [piece] = sources.cut(sources.find_sources([path], spec), tmp_path)
        [parsed] = sources.read(piece)
        from shipway.components.prep.rows import separate, with_hashes

        good, bad = separate(parsed.frame, parsed.bad, spec)
        [out] = with_hashes(good, spec).to_dicts()
        assert not len(bad)
        assert (out["text"], out["label"], out["source_label"], out["source__row"], out["_row"]) == (
            "a", "b", "mine", "value of _row", 1,
        )  # fmt: skip


def test_columns_without_a_name_get_one_that_no_other_has(tmp_path: Path) -> None:
    _, _, source = read(written(tmp_path, "rows.csv", "text,label,,column_3\na,b,c,d\n"))
    assert len(set(source.columns)) == 4


@pytest.mark.parametrize("name", ["e\u0301tiquette", "\ufeff\u00e9tiquette", "\u00e9tiquette\u00a0"])
def test_a_column_that_looks_like_the_wanted_one_is_shown_with_the_difference(tmp_path: Path, name: str) -> None:
    pl.DataFrame({"text": ["a"], name: ["b"]}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InvalidData, match="which looks the same and is written otherwise") as caught:
        read(tmp_path / "rows.parquet", label_column="\u00e9tiquette")
    assert ascii(name) in str(caught.value)


def test_a_message_about_columns_has_one_line_of_bearable_length(tmp_path: Path) -> None:
    pl.DataFrame({"a\rb\nc": ["a"], "x" * 5_000: ["b"]}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InvalidData, match=r"it has 'a\\rb\\nc', xxx") as caught:
        read(tmp_path / "rows.parquet")
    assert len(str(caught.value)) < 400


# The door


def test_whatever_a_library_raises_leaves_a_reader_as_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "rows.csv", table(PLAIN))
    for error in (RecursionError("deep"), KeyError("x"), OverflowError("big"), pl.exceptions.PanicException("rust")):

        def broken(*_arguments: object, error: BaseException = error, **_named: object) -> None:
            raise error

        monkeypatch.setattr(sources, "parse_csv", broken)
        with pytest.raises(InvalidData, match=r"data: 'rows.csv' cannot be read \(bytes 11 to .*\): ") as caught:
            read(path)
        assert caught.value.__cause__ is error
