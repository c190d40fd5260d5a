"""No file makes a reader of prep raise what is not ours, and no reader reads a row in two ways."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shipway.components.prep import parse, sources
from shipway.components.prep.json_lines import parse_jsonl
from shipway.components.prep.quoting import Quoting
from shipway.components.prep.rows import separate, with_hashes
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import ShipwayError
from tests.fuzz.fuzzing import fuzzed

DELIMITERS = st.sampled_from([",", ";", "\t", "|", "^"])
PIECES = st.sampled_from(
    ["a", "on", '"', '""', "\n", "\r\n", "\r", ",", ";", "\t", "|", "^", " ", "é", "\u2028", "\0", "\ufeff", "27"]
)
CSV_TEXT = st.lists(PIECES, max_size=40).map("".join)
LEAVES: Any = st.none() | st.booleans() | st.text(max_size=8) | st.integers() | st.floats()
LEAVES |= st.sampled_from(["1.0", "NaN", "2024-01-31", "\ud800", "\U0001f600", 10**30, -0.0, 1e300, 10**400])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
OBJECTS = st.lists(st.tuples(st.sampled_from(["text", "label", "more", ""]), VALUES), max_size=5)
NAMES = st.sampled_from(["text", "label", "_row", "*", "^a$", "", "in:text", "source_label", "group", "é", "e\u0301"])


def as_json(pairs: list[tuple[str, Any]], is_ascii: bool) -> bytes:
    """An object as written, repeated keys and all."""
    inside = ", ".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=is_ascii)}" for key, value in pairs)
    return f"{{{inside}}}".encode(errors="surrogatepass")


def taken(name: str, data: bytes, **changes: Any) -> int | str:
    """Good and bad rows of a file read to its end, or the error that it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        spec = DatasetSpec(name="bot", data=str(path), **changes)
        try:
            rows = 0
            for piece in sources.cut(sources.find_sources([path], spec), Path(folder), 64):
                for parsed in sources.read(piece):
                    good, bad = separate(parsed.frame, parsed.bad, spec)
                    assert len(good) + len(bad) == parsed.records
                    with_hashes(good, spec)
                    rows += parsed.records
        except ShipwayError as error:
            refused = error
        else:
            return rows
    assert "\n" not in str(refused)
    assert name in str(refused) or "expected" in str(refused)
    return type(refused).__name__


@fuzzed
@given(CSV_TEXT, DELIMITERS, st.sampled_from(["csv", "none"]), st.booleans())
def test_the_fast_and_the_exact_reader_of_csv_agree(block: str, delimiter: str, mode: Any, trusts: bool) -> None:
    quoting = Quoting(mode, trusts_lines=trusts, label_at=1, labels=frozenset([b"on", b"a"]))
    fast = parse.parse_csv(block.encode(), ["x", "y"], delimiter, quoting)
    exact = parse._parse_csv_exactly(block.encode(), ["x", "y"], delimiter, quoting)
    assert fast.frame.rows() == exact.frame.rows()
    assert fast.bad.rows() == exact.bad.rows()
    assert fast.records == exact.records


@fuzzed
@given(st.lists(st.tuples(OBJECTS, st.booleans()), min_size=1, max_size=5), st.binary(max_size=20))
def test_a_line_of_json_means_the_same_alone_and_beside_any_other(lines: list[Any], broken: bytes) -> None:
    columns, roles = ["text", "label", "more", ""], ("text", "label")
    written = [as_json(*line) for line in lines]
    alone = [parse_jsonl(line, columns, roles) for line in written]
    together = parse_jsonl(b"\n".join([broken.replace(b"\n", b""), *written]), columns, roles)
    rows = [row[:-1] for parsed in alone for row in parsed.frame.rows()]
    assert [row[:-1] for row in together.frame.rows()][-len(rows) or 10**6 :] == rows


@fuzzed
@given(CSV_TEXT, st.sampled_from([".csv", ".tsv", ".txt"]), st.sampled_from(["auto", "csv", "none"]))
def test_no_csv_breaks_a_reader(text: str, suffix: str, quoting: str) -> None:
    taken(f"rows{suffix}", f"text,label\n{text}".encode(), quoting=quoting)
    taken(f"rows{suffix}", text.encode(), quoting=quoting)


@fuzzed
@given(st.lists(st.tuples(OBJECTS, st.booleans()).map(lambda line: as_json(*line)) | st.binary(max_size=30)))
def test_no_json_breaks_a_reader(lines: list[bytes]) -> None:
    taken("rows.jsonl", b"\n".join(lines))
    taken("rows.jsonl", b"\n".join([b'{"text": "a", "label": "b"}', *lines]))


@fuzzed
@given(
    st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz", ".csv.zst", ".tsv.xz"])
)
def test_no_bytes_break_a_reader(data: bytes, suffix: str) -> None:
    taken(f"rows{suffix}", data)


@fuzzed
@given(st.sampled_from([".gz", ".bz2", ".xz", ".zst"]), st.integers(1, 400), st.integers(0, 400), st.integers(0, 255))
def test_a_cut_or_damaged_compressed_file_never_passes_for_a_shorter_one(
    suffix: str, cut: int, at: int, byte: int
) -> None:
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[suffix]
    whole = compress(b"text,label\n" + b"".join(b"lamp %d,on\n" % number for number in range(200)))
    assert taken(f"rows.csv{suffix}", whole) == 200
    assert taken(f"rows.csv{suffix}", whole[: -min(cut, len(whole) - 1)]) == "InvalidData"
    damaged = bytearray(whole)
    damaged[at % len(whole)] = byte
    taken(f"rows.csv{suffix}", bytes(damaged))


@fuzzed
@given(
    st.dictionaries(NAMES, st.sampled_from([pl.Int8, pl.Float64, pl.Duration, pl.Categorical, pl.Binary, pl.Date,
                                           pl.Decimal(10, 2), pl.List(pl.Struct({"a": pl.Int8})),
                                           pl.Time, pl.Null, pl.Boolean, pl.Int128, pl.String])),
    st.integers(0, 200),
)  # fmt: skip
def test_no_parquet_breaks_a_reader(columns: dict[str, Any], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        others = {name: pl.Series([None, None], dtype=dtype) for name, dtype in columns.items()}
        frame = pl.DataFrame({**others, "text": ["a", "b"], "label": ["x", "y"]})
        frame.write_parquet(Path(folder) / "rows.parquet")
        data = (Path(folder) / "rows.parquet").read_bytes()
    assert taken("rows.parquet", data) == 2
    taken("rows.parquet", data[:cut] + data[cut + 1 :])
