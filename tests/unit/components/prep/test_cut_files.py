"""A file that was cut or damaged is refused, and where a whole one is cut into pieces changes no row."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shipway.components.prep import sources
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from tests.fixtures.rows import COMPRESS, HEADER, PLAIN, read, table, written
from tests.fuzz.fuzzing import fuzzed

# Cut files


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_compressed_file_that_was_cut_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    body = HEADER + "".join(f"lamp {number} {hash(number * 7919) % 99991},on\n" for number in range(60_000))
    whole = COMPRESS[suffix](body.encode())
    assert len(read(written(tmp_path, f"rows.csv{suffix}", whole))[0]) == 60_000
    with pytest.raises(InvalidData, match=rf"'rows.csv{suffix}' cannot be read to its end: .* lines, .* were read"):
        read(written(tmp_path, f"rows.csv{suffix}", whole[: int(len(whole) * share)]))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_all_frames_of_a_concatenated_file_are_read_and_the_last_may_not_be_cut(tmp_path: Path, suffix: str) -> None:
    parts = [COMPRESS[suffix](part.encode()) for part in (table(PLAIN), "a,on\n" * 300, "b,off\n" * 30_000)]
    assert len(read(written(tmp_path, f"rows.csv{suffix}", b"".join(parts)))[0]) == 30_500
    for broken in (b"".join(parts)[:-4], b"".join(parts) + b"no frame at all"):
        with pytest.raises(InvalidData, match="cannot be read to its end"):
            read(written(tmp_path, f"rows.csv{suffix}", broken))


def test_a_zstd_file_of_skippable_frames_is_read_whole(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    parts = zstandard.compress(table(PLAIN).encode()) + skippable + zstandard.compress(b"a,on\n")
    assert len(read(written(tmp_path, "rows.csv.zst", parts))[0]) == 201


def test_cut_parquet_and_cut_json_lines_are_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [f"lamp {n}" for n in range(5000)], "label": ["on"] * 5000})
    frame.write_parquet(tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    with pytest.raises(InvalidData, match=r"'half.parquet' cannot be read as Parquet.*its end may be missing"):
        read(written(tmp_path, "half.parquet", data[: len(data) // 2]))
    lines = frame.write_ndjson().encode()
    with pytest.raises(InvalidData, match=r"'half.jsonl' ends in the middle of a record, behind 2,500 whole lines"):
        read(written(tmp_path, "half.jsonl", lines[: lines.index(b"lamp 2500") + 4]))
    assert len(read(written(tmp_path, "no_break.jsonl", lines.rstrip()))[0]) == 5000


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"\0" * 512])
def test_a_compressed_file_of_no_bytes_or_of_nul_bytes_is_not_taken_for_an_empty_one(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    with pytest.raises(InvalidData, match=rf"'rows.csv{suffix}' (has no bytes|cannot be read)"):
        read(written(tmp_path, f"rows.csv{suffix}", content))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_compressed_file_is_not_told_to_take_the_name_it_has(tmp_path: Path, suffix: str) -> None:
    whole = COMPRESS[suffix](table(PLAIN).encode())
    with pytest.raises(InvalidData, match="damaged, or something else stands behind") as caught:
        read(written(tmp_path, f"rows.csv{suffix}", whole + b"garbage" * 9))
    assert "name it" not in str(caught.value)
    with pytest.raises(InvalidData, match=f"'rows.csv{suffix}' is compressed twice; decompress it once"):
        read(written(tmp_path, f"rows.csv{suffix}", COMPRESS[suffix](whole)))


LINE = json.dumps(
    {"text": 'a}é"', "label": "b", "more": {"a": [1, -2.5e3, True, None, {"x": "y"}]}}, ensure_ascii=False
)


def test_json_lines_cut_anywhere_in_a_line_are_refused(tmp_path: Path) -> None:
    line = LINE.encode()
    for length in range(1, len(line)):
        with pytest.raises(InvalidData, match="ends in the middle of a record, behind 1 whole lines"):
            read(written(tmp_path, "rows.jsonl", line + b"\n" + line[:length]))
    broken = written(tmp_path, "rows.jsonl", LINE + '\n{"text": "a" "label": "b"}')  # wrong, but whole
    assert len(read(broken)[1]) == 1


@pytest.mark.parametrize(
    ("end", "is_cut"),
    [
        ("switch on la", True),
        ('"switch on la', True),
        ("switch on,o", False),
        ("switch on la\n", False),
        ("switch on,on\n\x1a", False),
    ],
)
def test_a_csv_cut_in_front_of_its_last_field_is_refused(tmp_path: Path, end: str, is_cut: bool) -> None:
    path = written(tmp_path, "rows.csv", table([*PLAIN, '"a, b",on']) + end)
    if is_cut:
        with pytest.raises(InvalidData, match="ends in the middle of a record, behind 202 whole lines: it was cut"):
            read(path)
    else:
        assert len(read(path)[0]) >= 201


def test_a_letter_cut_in_its_middle_makes_no_rows_of_its_lines(tmp_path: Path) -> None:
    letters = [f'"Dear {number},\nno light, no heat\nbye",on' for number in range(40)]
    with pytest.raises(InvalidData, match="ends in the middle of a record"):
        read(written(tmp_path, "rows.csv", table(letters) + '"Dear,\nno light, no heat\nbye, m'))


# Pieces


KINDS = ["lamp,on", '27" screen,off', '"Dear,\nno light, no heat\nbye",on', '"a, b",off', '"say ""hi""",on', '"lamp,on']
KINDS += ['lamp,"on', '"x" lamp,on', '"no,\n""end",off']


@fuzzed
@given(st.lists(st.sampled_from(KINDS), min_size=3, max_size=40), st.sampled_from([40, 64, 200]))
def test_where_a_file_is_cut_into_pieces_changes_no_row(lines: list[str], size: int) -> None:
    def parts(path: Path, piece_bytes: int) -> list[object]:
        spec = DatasetSpec(name="bot", data=str(path), quoting="csv")
        pieces = sources.cut(sources.find_sources([path], spec), path.parent, piece_bytes)
        parsed = [parsed for piece in pieces for parsed in sources.read(piece)]
        return [
            [row[:-1] for each in parsed for row in each.frame.rows()],
            [row[1:] for each in parsed for row in each.bad.rows()],
            sum(each.records for each in parsed),
        ]

    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "rows.csv", table(lines))
        assert parts(path, size) == parts(path, 1 << 20)


def test_a_line_without_end_is_refused_and_not_cut_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_RECORD_BYTES", 1 << 20)
    monkeypatch.setattr(sources, "PIECE_BYTES", 1 << 19)
    monkeypatch.setattr(sources.cut, "__defaults__", (1 << 19,))
    for name, start in (("rows.csv", HEADER + "a,on\n"), ("rows.jsonl", '{"text": "a", "label": "b"}\n{"text": "')):
        with pytest.raises(InvalidData, match=f"'{name}' has a line of more than 1 MiB behind [12] lines"):
            read(written(tmp_path, name, start + "x" * 3_000_000 + ",on\n"))
