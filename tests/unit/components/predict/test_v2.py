from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.components.predict import v2
from shipway.components.predict.core import BadRequest, Limits
from tests.unit.components.predict.test_core import JSON, understood_or_refused

LIMITS = Limits(max_instances=3, max_text_chars=20)


def body(**tensor: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "t", "datatype": "BYTES", "shape": [1], **tensor}]}


def packed(*texts: bytes) -> bytes:
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def test_texts_come_as_json_or_as_bytes() -> None:
    assert v2.read(body(data=["a"]), b"", LIMITS).texts == ["a"]
    raw = packed("grüß".encode(), b"")
    given = body(shape=[2, 1], parameters={"binary_data_size": len(raw)})
    assert v2.read(given, raw, LIMITS).texts == ["grüß", ""]


@pytest.mark.parametrize(
    ("given", "binary", "reason"),
    [
        (body(parameters={"binary_data_size": 5}), packed(b"\xff"), r"inputs\[0\]\.data\[0\]: not UTF-8"),
        (body(parameters={"binary_data_size": 5}), b"", "5 was announced, 0 bytes follow"),
        (body(parameters={"binary_data_size": 4}), b"\xff\xff\xff\xff", "ends within text 0"),
        (body(parameters={"binary_data_size": 4_000_000}), b"\x00" * 4_000_000, "more than the 3 texts"),
        (body(parameters={"binary_data_size": True}), b"a", "announced"),
        (body(data=["a"]), b"rest", "4 bytes follow"),
        (body(), b"", "either data or parameters.binary_data_size"),
        (body(data=["a"], parameters={"binary_data_size": 1}), b"a", "either data or"),
        ({**body(data=["a"]), "id": 3}, b"", '"id" must be a string, got a number'),
        ({**body(data=["a"]), "outputs": {}}, b"", '"outputs" must be a list'),
        ({**body(data=["a"]), "outputs": [{"name": ["label"]}]}, b"", "is no output"),
        ({**body(data=["a"]), "outputs": [{"name": "label"}] * 2}, b"", "asked for twice"),
        (
            {**body(data=["a"]), "outputs": [{"name": "label", "parameters": {"classification": 3}}]},
            b"",
            "classification",
        ),
        ({**body(data=["a"]), "parameters": {"binary_data_output": 1}}, b"", "must be true or false, got a number"),
        (body(data=["a"], shape=[1.0]), b"", r"shape must be \[1\] .* got \[1\.0\]"),
        (body(data=["a"], parameters=[]), b"", r"inputs\[0\]\.parameters must be a JSON object, got a list"),
        (body(parameters={"binary_data_size": 0.0}), b"", "0.0 was announced"),
        (body(parameters={"binary_data_size": "9" * 10_000}), b"", "'9{40}' was announced"),
        ({**body(data=["a"]), "outputs": [{"name": "label", "parameters": ""}]}, b"", "must be a JSON object"),
        ({**body(data=["a"]), "model_name": "other"}, b"", "\"model_name\": 'other' is not served here; toy is"),
        ({**body(data=["a"]), "model_version": 4}, b"", '"model_version": 4 is not served here; 3 is'),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(given: Any, binary: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        v2.read(given, binary, LIMITS, {"model_name": "toy", "model_version": "3"})


def test_a_body_may_repeat_what_answers_it() -> None:
    given = {**body(data=["a"], parameters=None), "model_name": "toy", "model_version": ""}
    assert v2.read(given, b"", LIMITS, {"model_name": "toy", "model_version": "3"}).texts == ["a"]


TENSOR = st.fixed_dictionaries(
    {"name": JSON, "datatype": st.just("BYTES") | JSON, "shape": JSON | st.lists(st.integers(-1, 3), max_size=3)},
    optional={"data": JSON | st.lists(st.text(max_size=5), max_size=4), "parameters": JSON},
)
BODIES = JSON | st.fixed_dictionaries(
    {"inputs": JSON | st.lists(TENSOR, max_size=2)},
    optional={"id": JSON, "outputs": JSON, "parameters": JSON},
)


@given(BODIES, st.binary(max_size=20))
def test_any_body_is_understood_or_refused_in_one_line(given: Any, binary: bytes) -> None:
    understood_or_refused(lambda: v2.read(given, binary, LIMITS))
