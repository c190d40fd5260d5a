from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.client import Client
from shipway.components.predict.core import Query, Reader, read_v1
from shipway.errors import UserError
from shipway.inputs import BadRequest, load_input
from shipway.inputs.json_kinds import shown
from shipway.tasks import load_task
from tests.fixtures import waiting

TEXT = load_input("text")
READER = Reader(TEXT, load_task("classification").answers, TEXT.Limits(max_chars=20), max_instances=3)
JOURNEYS = Reader(waiting.recipe.input, waiting.recipe.task.answers, waiting.recipe.input.Limits(), max_instances=3)


def test_texts_come_bare_or_in_objects() -> None:
    query = read_v1({"instances": ["a", {"text": "b", "id": 7}]}, READER)
    assert (query.values, query.params.model_dump()) == (["a", "b"], {"top_k": 5})
    for top_k in (2, "all"):
        asked = read_v1({"instances": ["a"], "parameters": {"top_k": top_k}}, READER).params
        assert asked.model_dump() == {"top_k": top_k}


def test_instances_are_what_the_models_own_input_reads() -> None:
    query = read_v1({"instances": [{"stops": 3, "passengers": 20}, [4, 1.5]]}, JOURNEYS)
    assert query.values == [(3.0, 20.0), (4.0, 1.5)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (["a"], "the body must be a JSON object, got a list"),
        ({}, '"instances" is missing'),
        ({"instances": "a"}, '"instances" must be a list of instances, got a string'),
        ({"instances": []}, '"instances" is empty'),
        ({"instances": ["a", 7]}, r"instances\[1\] must be a string, got a number"),
        ({"instances": [None]}, r"instances\[0\] must be a string, got null"),
        ({"instances": [{"txt": "a"}]}, r'instances\[0\]: "text" is missing'),
        ({"instances": [{"text": True}]}, r"instances\[0\]\.text must be a string, got a boolean"),
        ({"instances": ["a"] * 4}, "holds 4 instances, at most 3"),
        ({"instances": ["a", "b" * 21]}, r"instances\[1\] has 21 characters, at most 20"),
        ({"instances": ["a"], "parameters": 3}, '"parameters" must be a JSON object, got a number'),
        ({"instances": ["a"], "parameters": {"top_k": 0}}, r"parameters\.top_k must be a whole number from 1"),
        ({"instances": ["a"], "parameters": {"top_k": True}}, r"parameters\.top_k .* got true"),
        ({"instances": ["a"], "parameters": {"top_k": None}}, r'a whole number from 1 or "all", got null'),
        ({"instances": ["a"], "parameters": {"topk": 3}}, "unknown name 'topk'; allowed are top_k"),
        ({"instances": ["a"], "parameters": []}, '"parameters" must be a JSON object, got a list'),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(body: Any, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read_v1(body, READER)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"instances": [3]}, r"instances\[0\] must be an object with stops, passengers, or a list of 2, got a number"),
        ({"instances": [{"stops": 3}]}, r'instances\[0\]: "passengers" is missing'),
        ({"instances": [{"stops": 3, "passengers": "many"}]}, r"instances\[0\]\.passengers must be a number, got"),
        ({"instances": [[1, 2]], "parameters": {"top_k": 1}}, "unknown name 'top_k'; allowed are rounded, unit"),
        ({"instances": [[1, 2]], "parameters": {"rounded": "x"}}, "rounded must be a valid boolean.* got 'x'"),
        ({"instances": [[1, 2]], "parameters": {"unit": 3}}, "unit must be 'minutes' or 'seconds', got 3"),
    ],
)
def test_a_request_of_another_task_is_refused_in_its_own_words(body: Any, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read_v1(body, JOURNEYS)


def test_what_is_quoted_stays_short_however_long_or_deep_it_is() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, {"a": deep}, [deep], "x" * 10**7, [1] * 10**6, 1e30):
        assert len(shown(value)) < 60
    assert shown([1, -1, "a", None]) == "[1, -1, 'a', null]"
    assert shown("\x1b[31m") == r"'\x1b[31m'"


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
    query = understood_or_refused(lambda: read_v1(body, READER))
    top_k = query.params.model_dump()["top_k"] if query else 1
    assert top_k == "all" or top_k >= 1


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
        assert 1 <= len(query.values) <= READER.max_instances
        assert all(isinstance(text, str) and len(text) <= 20 for text in query.values)
    return query
