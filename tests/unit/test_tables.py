"""Tables from a notebook: the same rows are one file, whatever they are made of; what is no table is told in a line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from shipway import tables
from shipway.errors import InvalidData, InvalidSpec, UserError
from shipway.parameters import check_params
from shipway.storage import Store, open_uri

ROWS = {
    "text": ["hi", "", None, "grüß dich"],
    "label": ["greet", "other", "other", "greet"],
    "share": [0.5, 1.0, None, 2],
}


class Streams:
    """A table of no library that we know, which exports Arrow's stream as pyarrow, DuckDB and others do."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._frame.__arrow_c_stream__(requested_schema)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/store")


def kept(store: Store, table: Any) -> pl.DataFrame:
    uri = tables.keep("data", table, store)
    whole, key = open_uri(uri)
    return pl.read_parquet(whole.get(key))


def test_the_same_rows_are_one_file_whatever_library_holds_them(store: Store) -> None:
    frame = pl.DataFrame(ROWS, strict=False)
    same = [
        frame, frame.lazy(), Streams(frame), pd.DataFrame(ROWS), pd.DataFrame(ROWS).astype({"label": "category"}),
        frame.with_columns(pl.col("label").cast(pl.Categorical)), pl.concat([frame[:1], frame[1:]], rechunk=False),
    ]  # fmt: skip
    assert all(tables.is_table(each) for each in same)
    uris = {tables.keep("data", each, store) for each in same}
    assert len(uris) == 1
    assert [info.key for info in store.list("data/tables/")] == [uris.pop().removeprefix(f"{store.uri}/")]
    assert kept(store, frame).to_dict(as_series=False) == ROWS
    assert tables.keep("data", frame[:3], store) != tables.keep("data", frame, store)


def test_a_table_that_is_there_is_not_written_again_and_a_torn_one_is(store: Store) -> None:
    uri = tables.keep("data", pl.DataFrame(ROWS, strict=False), store)
    key = uri.removeprefix(f"{store.uri}/")
    first = store.head(key)
    tables.keep("data", pl.DataFrame(ROWS, strict=False), store)
    assert store.head(key) == first
    store.put(key, b"half")
    tables.keep("data", pl.DataFrame(ROWS, strict=False), store)
    assert (store.head(key) or first).size_bytes == first.size_bytes  # type: ignore[union-attr]


def test_pandas_columns_keep_their_types(store: Store) -> None:
    moments = pd.to_datetime(["2026-01-01 10:00", None])
    frame = pd.DataFrame(
        {
            "i": [1, 2], "f": np.array([1.5, np.nan], dtype="float32"), "b": [True, False], "t": moments,
            "z": moments.tz_localize("UTC").tz_convert("Europe/Berlin"), "n": pd.array([1, None], dtype="Int64"),
            "s": pd.array(["a", None], dtype="string"), "d": [date(2026, 1, 1), None], "l": [["a"], ["b", "c"]],
        }
    )  # fmt: skip
    found = kept(store, frame)
    assert found.schema == pl.Schema(
        {
            "i": pl.Int64, "f": pl.Float32, "b": pl.Boolean, "t": pl.Datetime("ns"),
            "z": pl.Datetime("ns", "Europe/Berlin"), "n": pl.Int64, "s": pl.String, "d": pl.Date,
            "l": pl.List(pl.String),
        }
    )  # fmt: skip
    assert found["z"].dt.convert_time_zone("UTC").to_list() == [datetime(2026, 1, 1, 10, tzinfo=UTC), None]
    assert found["f"].to_list() == [1.5, None]


def test_lists_of_several_kinds_are_their_json(store: Store) -> None:
    spans = [[[0, 3, "rööm"], (np.int64(4), 5, "n")], [], None]
    assert kept(store, pd.DataFrame({"spans": spans}))["spans"].to_list() == [
        '[[0, 3, "rööm"], [4, 5, "n"]]',
        "[]",
        None,
    ]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (
            pd.DataFrame({"x": [[1, {2}], [3]]}),
            r"data: column 'x' holds values of several kinds .* \(list\); give it one",
        ),
        (pd.DataFrame({"x": [np.zeros((2, 2, 3))] * 2}), r"data: column 'x' holds values .* \(ndarray\); give it one"),
        (pd.DataFrame({0: ["a"]}), "data: column 0 has no text for a name; rename the columns to text"),
        (
            pd.DataFrame([["a", "b"]], columns=["x", "x"]),
            "data: 'x' names more than one column; give each a name of its",
        ),
        (pd.DataFrame({"x": ["a", 1]}), r"data: column 'x' holds values of several kinds .* \(int, str\); give it one"),
        (pd.DataFrame({"x": [object()]}), "data: column 'x' holds"),
        (pl.DataFrame({"x": [object()]}, schema={"x": pl.Object}), "data: column 'x' holds Python objects"),
        (pl.DataFrame({"": [1]}), "data: a column has an empty name"),
        (pl.DataFrame(), "data: the table has no columns"),
        (pl.DataFrame({"x": []}), "data: the table has no rows"),
        (pl.LazyFrame({"x": [1]}).select("y"), "data: the table cannot be kept as Parquet: .*y"),
    ],
)
def test_a_table_that_cannot_be_kept_is_one_line_and_leaves_nothing(store: Store, table: Any, line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        tables.keep("data", table, store)
    assert "\n" not in str(caught.value)
    assert not list(store.list())


def test_an_index_that_says_something_is_left_out_with_a_note(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    tables.keep("data", pd.DataFrame({"x": [1, 2]})[1:], store)
    assert capsys.readouterr().err == ""
    tables.keep("data", pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="id")), store)
    assert capsys.readouterr().err == "note: data: the index is left out; .reset_index() makes columns of it\n"


INPUTS = {
    "data": {"parameterType": "STRING"},
    "rows": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
    "share": {"parameterType": "NUMBER_DOUBLE", "isOptional": True},
    "on": {"parameterType": "BOOLEAN", "isOptional": True},
    "more": {"parameterType": "STRUCT", "isOptional": True},
    "names": {"parameterType": "LIST", "isOptional": True},
}


def checked(**params: Any) -> dict[str, Any]:
    return check_params(INPUTS, params, pipeline="p", keep=lambda name, table: f"s3://{name}/{len(table)}")


def test_parameters_are_read_by_the_pipelines_types_and_a_table_becomes_its_address() -> None:
    typed = checked(data="a", rows="3", share="1e3", on="True", more='{"a": 1}', names='["x"]')
    assert typed == {"data": "a", "rows": 3, "share": 1000.0, "on": True, "more": {"a": 1}, "names": ["x"]}
    assert checked(data=Path("/x"), rows=3.0, names=("x",), on=None) == {"data": "/x", "rows": 3, "names": ["x"]}
    assert checked(data=pd.DataFrame(ROWS)) == {"data": "s3://data/4"}


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({}, r"data: missing; p needs data=\.\.\."),
        ({"data": ""}, "data: missing"),
        ({"dat": pd.DataFrame(ROWS)}, r"dat: unknown parameter of p; .* \(did you mean 'data'\?\)"),
        ({"data": "a", "rows": pd.DataFrame(ROWS)}, "rows: got a pandas DataFrame of 4 x 3, expected a whole number"),
        ({"data": pd.Series([1])}, "data: got a pandas Series of 1, expected text, or a table of columns"),
        ({"data": np.zeros((50, 50))}, "data: got a numpy ndarray of 50 x 50, expected text, or a table"),
        ({"data": ["a"] * 999}, r"data: got \['a'.{70,80}, expected text"),
        ({"data": "a", "rows": "2.5"}, "rows: got '2.5', expected a whole number"),
        ({"data": "a", "rows": True}, "rows: got True, expected a whole number"),
        ({"data": "a", "share": "nan"}, "share: got 'nan', expected a number"),
        ({"data": "a", "on": "yes"}, "on: got 'yes', expected true or false"),
        ({"data": "a", "more": [1]}, r"more: got \[1\], expected a JSON object"),
    ],
)
def test_a_wrong_parameter_is_one_line(params: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidSpec, match=line) as caught:
        checked(**params)
    assert "\n" not in str(caught.value)


def test_no_table_is_written_before_every_other_parameter_is_right() -> None:
    written: list[str] = []
    with pytest.raises(InvalidSpec, match="rows: got 'x'"):
        check_params(
            INPUTS, {"data": pd.DataFrame(ROWS), "rows": "x"}, pipeline="p",
            keep=lambda name, table: written.append(name) or "",
        )  # fmt: skip
    assert not written


def test_the_error_of_a_table_is_the_users(store: Store) -> None:
    with pytest.raises(InvalidData):
        tables.keep("data", pl.DataFrame({"x": []}), store)


def test_values_of_python_and_numpy_become_those_of_json() -> None:
    given = {
        "rate": np.float32(0.5),
        "sizes": np.arange(3),
        "pair": (1, range(2)),
        "folder": Path("/x"),
        "on": np.True_,
    }
    assert checked(data="a", more=given, rows=np.int64(3), share=np.float64(0.5), names=np.array(["a"])) == {
        "data": "a", "rows": 3, "share": 0.5, "names": ["a"],
        "more": {"rate": 0.5, "sizes": [0, 1, 2], "pair": [1, [0, 1]], "folder": "/x", "on": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"a", r"more\.x\[1\]: got b'a', of type bytes; expected numbers, text, true, false, and lists and dicts"),
        ({1}, r"more\.x\[1\]: got \{1\}, of type set"),
        (float("nan"), r"more\.x\[1\]: expected a finite number, got nan"),
        (np.float32("inf"), r"more\.x\[1\]: expected a finite number, got inf"),
        ({1: 2}, r"more\.x\[1\]: the name 1 is no text"),
        (pd.DataFrame(ROWS), r"more\.x\[1\]: got a pandas DataFrame of 4 x 3, of type DataFrame"),
        (np.zeros(20_000), r"more\.x\[1\]: expected at most 10,000 values, got .*give its path"),
    ],
)
def test_what_json_has_not_is_named_with_its_place(value: Any, line: str) -> None:
    with pytest.raises(InvalidSpec, match=line) as caught:
        checked(data="a", more={"x": [0, value]})
    assert "\n" not in str(caught.value)


def test_tables_among_data_by_name_become_their_addresses() -> None:
    inputs = {"data": {"parameterType": "STRUCT", "isOptional": True}}
    given = {"data": {"rows": pd.DataFrame(ROWS), "words": Path("/words.txt")}}
    found = check_params(inputs, given, pipeline="p", keep=lambda name, table: f"s3://{name}/{len(table)}")
    assert found == {"data": {"rows": "s3://data.rows/4", "words": "/words.txt"}}
