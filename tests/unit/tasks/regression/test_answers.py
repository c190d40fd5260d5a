from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.tasks import load_task

ANSWERS = load_task("regression").answers
NONE: Any = None


def documents(*numbers: float) -> list[dict[str, Any]]:
    columns = ANSWERS.decode(NONE, {"value": np.array(numbers, dtype=np.float32)}, {})
    return ANSWERS.documents([], columns, ANSWERS.Params(), ANSWERS.Settings())


def differences(expected: list[float], served: list[Any], tolerance: float = 1e-4) -> tuple[list[float], list[bool]]:
    gap, same = ANSWERS.differences([], {"value": np.array(expected, dtype=np.float32)}, served, tolerance)
    return gap.tolist(), same.tolist()


def test_an_answer_is_a_value_in_json_in_a_tensor_and_in_a_line() -> None:
    columns = ANSWERS.decode(NONE, {"value": np.array([[1.5], [-2e6]])}, {})
    assert documents(1.5, -2e6) == [{"value": 1.5}, {"value": -2e6}]
    outputs = ANSWERS.outputs([], columns, ANSWERS.Params(), ANSWERS.Settings())
    assert list(outputs) == list(ANSWERS.tensors)
    assert (outputs["value"].dtype, outputs["value"].tolist()) == (np.float32, [1.5, -2e6])
    assert [ANSWERS.line(answer) for answer in documents(1.5, -2e6)] == [["1.5"], ["-2e+06"]]
    assert ANSWERS.headings == ["value"]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=8))
def test_answers_that_went_through_json_are_the_same(numbers: list[float]) -> None:
    served = json.loads(json.dumps([{"value": float(answer["value"])} for answer in documents(*numbers)]))
    assert differences(numbers, served) == ([0.0] * len(numbers), [True] * len(numbers))


def test_differences_are_relative_above_1() -> None:
    gap, same = differences([0.5, 2e6, -2e6], [{"value": 0.50005}, {"value": 2e6 + 100}, {"value": -2e6 - 400}])
    assert gap == pytest.approx([5e-5, 5e-5, 2e-4], rel=1e-2)
    assert same == [True, True, False]


@pytest.mark.parametrize("answer", [{}, {"value": None}, {"value": "1"}, {"value": True}, {"value": float("nan")}])
def test_an_answer_without_a_number_is_infinitely_far(answer: dict[str, Any]) -> None:
    assert differences([1.0], [cast(Any, answer)]) == ([float("inf")], [False])
