from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.tasks.regression.details import Rules
from shipway.tasks.regression.rules import judge

SIZES = np.array([0.0, 0.5, 1.0, 4.0])


def judged(rules: Any, mean_error: float = -0.5) -> list[tuple[bool, float | None, str]]:
    found = judge(parse(Rules, rules, "promotion.task"), mean_error, SIZES)
    return [(result.passed, result.value, result.detail) for result in found]


def test_no_rules_judge_nothing() -> None:
    assert judged({}) == []


def test_the_mean_error_is_bounded_either_way() -> None:
    assert judged({"mean_error": 0.5}) == [(True, 0.5, "answers are too low by 0.5 on average")]
    assert judged({"mean_error": 0.1}, 0.2) == [(False, 0.2, "answers are too high by 0.2 on average")]


def test_a_share_of_the_rows_must_be_near_the_truth() -> None:
    rules = {"within": [{"error": 1, "share": 0.75}, {"error": 0.9, "share": 0.75}, {"error": 4, "share": 1}]}
    assert judged(rules) == [
        (True, 0.75, "3 of 4 rows are"),
        (False, 0.5, "2 of 4 rows are"),
        (True, 1.0, "4 of 4 rows are"),
    ]


@pytest.mark.parametrize(
    "rules", [{"mean_error": -1}, {"within": [{"error": 1}]}, {"within": [{"error": 1, "share": 1.5}]}, {"r2": 1}]
)
def test_rules_that_mean_nothing_are_refused(rules: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"^promotion\.task"):
        judged(rules)
