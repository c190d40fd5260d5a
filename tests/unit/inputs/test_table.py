"""Input `table`: rows and requests give the same values, and what is wrong is said in one line."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shipway.components.predict import v2
from shipway.components.predict.core import Reader, read_v1
from shipway.errors import InvalidSpec
from shipway.inputs import BadRequest, bind_input, load_input
from shipway.inputs.base import GivesFeatures, Input
from shipway.specs import parse
from shipway.tasks import load_task

KIND: Any = load_input("table")
PARAMS = KIND.Params(numeric=["size", "age"], categorical=["town"], max_chars=12)
BOUND: Any = bind_input(KIND, PARAMS.model_dump(), "input")
LIMITS = KIND.Limits(max_chars=40)
TABLE = {"number.size": ["10", " 2.50"], "number.age": ["1e1", "7"], "category.town": ["Köln ", "Ko\u0308ln"]}
ROWS = pl.DataFrame(TABLE)


def reasons(**cells: str | None) -> str | None:
    row = {"number.size": "1", "number.age": "1", "category.town": "x"}
    row |= {next(name for name in row if name.endswith(column)): cell for column, cell in cells.items()}  # type: ignore[dict-item]
    frame = pl.DataFrame({name: [cell] for name, cell in row.items()}, schema=dict.fromkeys(row, pl.String))
    return frame.select(KIND.reason(PARAMS)).item()


def test_columns_of_rows_say_what_they_hold() -> None:
    assert KIND.columns(PARAMS) == {"number.size": "size", "number.age": "age", "category.town": "town"}
    assert isinstance(KIND, Input)
    assert isinstance(BOUND, Input)
    expected = [{"size": 10.0, "age": 10.0, "town": "Köln"}, {"size": 2.5, "age": 7.0, "town": "Köln"}]
    for kind in (KIND, BOUND):
        assert kind.values(ROWS) == expected
        assert kind.preview(ROWS).to_list() == ["size 10, age 10, town Köln", "size 2.5, age 7, town Köln"]
        assert kind.sizes(expected).tolist() == [1, 1]


def test_a_bound_table_reads_its_own_columns_of_wider_rows() -> None:
    wide = ROWS.with_columns(pl.lit("3").alias("number.floors"))
    assert [list(value) for value in KIND.values(wide)] == [["size", "age", "floors", "town"]] * 2
    assert [list(value) for value in BOUND.values(wide)] == [["size", "age", "town"]] * 2


@pytest.mark.parametrize("kept", [["number.size", "number.age"], ["category.town"], list(TABLE)])
def test_rows_that_mean_the_same_have_one_content(kept: list[str]) -> None:
    rows = pl.DataFrame({"number.size": ["1.0", "1"], "number.age": ["5", "+5."], "category.town": ["ö ", "o\u0308"]})
    first, second = rows.select(kept).select(KIND.content()).to_series()
    assert first == second
    other = rows.select(kept).with_columns(pl.col(kept[0]) + "7").select(KIND.content()).to_series()
    assert first not in other.to_list()


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({}, None),
        ({"size": "1,5"}, "size has separators between its digits; write 1234.5"),
        ({"age": None}, "age is empty"),
        ({"age": "nan"}, "age is a mark of a missing value"),
        ({"town": "  "}, "town is empty"),
        ({"town": None}, "town is empty"),
        ({"town": "x" * 13}, "town is longer than 12 characters"),
        ({"town": "a\x00b"}, "town holds a control character"),
        ({"town": "a\x1fb"}, "town holds a control character"),
        ({"town": "M\ufffdnchen"}, "town: replacement character U+FFFD: decoded wrongly before it came here"),
        ({"size": "x", "town": ""}, "size is not a number"),
    ],
)
def test_a_bad_row_is_told_by_its_column(cells: dict[str, Any], why: str | None) -> None:
    assert reasons(**cells) == why


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({}, "name at least one column"),
        ({"numeric": ["a"], "categorical": ["a"]}, "a: named twice"),
        ({"numeric": [""]}, r"input\.numeric\.?\[?0"),
        ({"numerical": ["a"]}, "unknown field.*did you mean 'numeric'"),
    ],
)
def test_parameters_that_name_no_table_are_refused(given_: Any, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why) as refused:
        parse(KIND.Params, given_, "dataset.input")
    assert "\n" not in str(refused.value)


def test_a_request_names_its_columns_or_lists_their_cells() -> None:
    expected = {"size": 10.0, "age": 3.5, "town": "Köln"}
    for instance in (
        {"town": "Köln", "size": 10, "age": 3.5},
        {"town": " Ko\u0308ln", "size": "10", "age": "3.5"},
        [10, 3.5, "Köln"],
        "10, 3.5, Köln",
        '10,3.5,"Köln"',
        '{"town": "Köln", "size": 10, "age": 3.5}',
        '[10, 3.5, "Köln"]'.encode(),
    ):
        found = BOUND.read_instance(instance, "instances[0]", LIMITS)
        assert (found, list(found)) == (expected, ["size", "age", "town"]), instance


@pytest.mark.parametrize(
    ("instance", "why"),
    [
        (7, "instances[0] must be a JSON object, got a number"),
        (None, "instances[0] must be a JSON object, got null"),
        ({"size": 1, "age": 1}, "instances[0]: 'town' is missing; expected size, age, town"),
        ({"size": 1, "age": 1, "town": "x", "twon": 1}, "unknown name 'twon'; allowed are size, age, town"),
        ({"size": "x", "age": 1, "town": "x"}, "instances[0].size is not a number, got 'x'"),
        ({"size": "1,5", "age": 1, "town": "x"}, "instances[0].size has separators between its digits"),
        ({"size": True, "age": 1, "town": "x"}, "instances[0].size must be a number, got a boolean"),
        ({"size": None, "age": 1, "town": "x"}, "instances[0].size must be a number, got null"),
        ({"size": float("nan"), "age": 1, "town": "x"}, "instances[0].size must be a number, got NaN"),
        ({"size": float("inf"), "age": 1, "town": "x"}, "instances[0].size is beyond the numbers of 32 bits"),
        ({"size": 10**5000, "age": 1, "town": "x"}, "instances[0].size is beyond the numbers of 32 bits"),
        ({"size": 1, "age": 1, "town": 5}, "instances[0].town must be a string, got a number"),
        ({"size": 1, "age": 1, "town": " "}, "instances[0].town is empty"),
        ({"size": 1, "age": 1, "town": "x" * 41}, "instances[0].town has 41 characters, at most 40 are allowed"),
        ([1, 2], "instances[0] must have 3 cells, size, age, town, got 2"),
        ("1,2", "instances[0] must have 3 cells, size, age, town, got 2"),
        ("x" * 41, "instances[0] has 41 characters, at most 40 are allowed"),
        ("", "instances[0]: expected a JSON object by column name, or a line of CSV, got ''"),
        ("[" * 40, "instances[0]: expected a JSON object by column name"),
        ('{"size": 1', "instances[0]: expected a JSON object by column name"),
        (b"\xff", "instances[0]: not UTF-8"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(instance: Any, why: str) -> None:
    with pytest.raises(BadRequest) as refused:
        BOUND.read_instance(instance, "instances[0]", LIMITS)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_line_of_a_terminal_is_json_or_csv() -> None:
    assert KIND.from_line('{"size": 1}\n') == {"size": 1}
    assert KIND.from_line('1, "Sankt Augustin, Ort",3') == ["1", "Sankt Augustin, Ort", "3"]
    for line in ("", " ", "[1", '{"a"', '"x" y"', "[" * 100_000, "[]"):
        with pytest.raises(BadRequest, match="a JSON object by column name, or a line of CSV"):
            KIND.from_line(line)


def test_a_kept_row_is_asked_for_as_a_person_would() -> None:
    instance = KIND.instance({"row_id": "a", "label": "1.0", **ROWS.row(1, named=True)})
    assert json.dumps(instance, ensure_ascii=False) == '{"size": 2.5, "age": 7, "town": "Köln"}'


def test_v1_and_v2_requests_hold_rows() -> None:
    reader = Reader(BOUND, load_task("regression").answers, LIMITS, max_instances=3)
    value = {"size": 1.0, "age": 2.0, "town": "x"}
    assert read_v1({"instances": [value, [1, 2, "x"]]}, reader).values == [value, value]
    tensor = {"name": "table", "datatype": "BYTES", "shape": [2], "data": ["1,2,x", json.dumps(value)]}
    assert v2.read({"inputs": [tensor]}, b"", reader).values == [value, value]
    assert reader.json_tokens >= 3 * 16


def test_a_warm_up_asks_for_every_column() -> None:
    assert BOUND.warm_up([]) == [{"size": 0.0, "age": 0.0, "town": ""}]


CELLS = st.tuples(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(exclude_categories=["C"], exclude_characters="\ufffd"), min_size=1, max_size=12),
)


@given(CELLS)
def test_a_request_made_of_a_good_row_gives_the_values_of_the_row(cells: tuple[float, str]) -> None:
    params = KIND.Params(numeric=["a.b"], categorical=["number.c"], max_chars=50)
    row = pl.DataFrame({"number.a.b": [repr(cells[0])], "category.number.c": [cells[1]]})
    if row.select(KIND.reason(params)).item() is not None:
        return
    instance = json.loads(json.dumps(KIND.instance(row.row(0, named=True))))
    bound: Any = bind_input(KIND, params.model_dump(), "input")
    assert [bound.read_instance(instance, "x", LIMITS)] == KIND.values(row) == bound.values(row)


def test_plain_features_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    numbers, towns = random.normal(3, 5, (40, 2)), random.choice(["a", "b", "c"], 40)
    rows = pl.DataFrame({"number.size": numbers[:, 0], "number.age": numbers[:, 1], "category.town": towns}).cast(
        pl.String
    )
    assert isinstance(KIND, GivesFeatures)
    fitted, transform = KIND.fit_features(rows[:30])
    scaled = StandardScaler().fit(numbers[:30]).transform(numbers)
    hot = OneHotEncoder(sparse_output=False).fit(towns[:30, None]).transform(towns[:, None])
    expected = np.hstack([scaled, hot])
    np.testing.assert_allclose(fitted.toarray(), expected[:30])
    np.testing.assert_allclose(transform(rows[30:]).toarray(), expected[30:])
    unseen = transform(rows[:1].with_columns(pl.lit("elsewhere").alias("category.town"))).toarray()
    assert unseen[0, 2:].tolist() == [0, 0, 0]
    for some in (["number.size"], ["category.town"]):
        assert KIND.fit_features(rows.select(some))[0].shape[0] == 40
