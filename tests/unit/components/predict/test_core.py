from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.components.predict.core import BadRequest, Client, Limits, Query, answers, read_v1, shown
from shipway.errors import UserError

LIMITS = Limits(max_instances=3, max_text_chars=20)


def test_texts_come_bare_or_in_objects() -> None:
    query = read_v1({"instances": ["a", {"text": "b", "id": 7}]}, LIMITS)
    assert (query.texts, query.top_k) == (["a", "b"], 5)
    assert read_v1({"instances": ["a"], "parameters": {"top_k": 2}}, LIMITS).top_k == 2
    assert read_v1({"instances": ["a"], "parameters": {"top_k": "all"}}, LIMITS).top_k is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (["a"], "the body must be a JSON object, got a list"),
        ({}, '"instances" is missing'),
        ({"instances": "a"}, '"instances" must be a list of texts, got a string'),
        ({"instances": []}, '"instances" is empty'),
        ({"instances": ["a", 7]}, r"instances\[1\] must be a string, got a number"),
        ({"instances": [None]}, r"instances\[0\] must be a string, got null"),
        ({"instances": [{"txt": "a"}]}, r'instances\[0\]: "text" is missing'),
        ({"instances": [{"text": True}]}, r"instances\[0\]\.text must be a string, got a boolean"),
        ({"instances": ["a"] * 4}, "holds 4 texts, at most 3"),
        ({"instances": ["a", "b" * 21]}, r"instances\[1\] has 21 characters, at most 20"),
        ({"instances": ["a"], "parameters": 3}, '"parameters" must be a JSON object, got a number'),
        ({"instances": ["a"], "parameters": {"top_k": 0}}, r"parameters\.top_k must be a whole number from 1"),
        ({"instances": ["a"], "parameters": {"top_k": True}}, r"parameters\.top_k .* got true"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(body: Any, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read_v1(body, LIMITS)


def test_what_is_quoted_stays_short_however_long_or_deep_it_is() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, {"a": deep}, [deep], "x" * 10**7, [1] * 10**6, 1e30):
        assert len(shown(value)) < 60
    assert shown([1, -1, "a", None]) == "[1, -1, 'a', null]"
    assert shown("\x1b[31m") == r"'\x1b[31m'"


def test_a_top_probability_below_the_threshold_is_none_of_these() -> None:
    probabilities = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]], dtype=np.float32)
    sure, unsure = answers(probabilities, ["a", "b", "c"], 0.5, 2)
    assert (sure["label"], sure["out_of_scope"], list(sure["probabilities"])) == ("b", False, ["b", "c"])
    assert (unsure["label"], unsure["out_of_scope"]) == (None, True)
    assert unsure["probability"] == np.float32(0.4)
    assert list(unsure["probabilities"]) == ["c", "a"]
    assert answers(probabilities, ["a", "b", "c"], None, None)[1]["label"] == "c"


def test_the_threshold_itself_is_in_scope() -> None:
    assert answers(np.array([[0.5, 0.5]], dtype=np.float32), ["a", "b"], 0.5, 1)[0]["label"] == "a"


@pytest.mark.parametrize("url", ["ftp://host/x", "host:80", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is not an http address"):
        Client(url, "m")


def test_a_base_address_needs_a_name() -> None:
    with pytest.raises(UserError, match="names no model"):
        Client("http://127.0.0.1:1")
    assert Client("http://127.0.0.1:1", "my bot").url == "http://127.0.0.1:1/v1/models/my%20bot:predict"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODIES = JSON | st.fixed_dictionaries(
    {"instances": JSON | st.lists(st.text(max_size=30) | st.fixed_dictionaries({"text": JSON}), max_size=4)},
    optional={"parameters": JSON | st.fixed_dictionaries({"top_k": JSON})},
)


@given(BODIES)
def test_any_body_is_understood_or_refused_in_one_line(body: Any) -> None:
    query = understood_or_refused(lambda: read_v1(body, LIMITS))
    assert query is None or query.top_k is None or query.top_k >= 1


def understood_or_refused(read: Callable[[], Query]) -> Query | None:
    """What was read, within the limits; None where it was refused, in one line."""
    reason, query = "", None
    try:
        query = read()
    except BadRequest as refused:
        reason = str(refused)
    if query is None:
        assert len(reason.splitlines()) == 1
    else:
        assert 1 <= len(query.texts) <= LIMITS.max_instances
        assert all(isinstance(text, str) and len(text) <= LIMITS.max_text_chars for text in query.texts)
    return query


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0, 1) | st.none())
def test_answers_name_the_highest_first_and_at_most_as_many_as_asked(
    n: int, k: int, seed: int, threshold: float | None
) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), n).astype(np.float32)
    labels = ["a", "b", "c", "d"]
    for row, answer in zip(probabilities, answers(probabilities, labels, threshold, k), strict=True):
        values = list(answer["probabilities"].values())
        assert len(values) == min(k, 4)
        assert values == sorted(values, reverse=True)
        assert answer["probability"] == row.max()
        is_out = threshold is not None and bool(row.max() < threshold)
        assert answer["out_of_scope"] is is_out
        assert (answer["label"] is None) is is_out
