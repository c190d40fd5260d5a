from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.components.predict import v2
from shipway.inputs import BadRequest
from tests.unit.components.predict.test_core import JOURNEYS, JSON, READER, understood_or_refused


def body(**tensor: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "t", "datatype": "BYTES", "shape": [1], **tensor}]}


def packed(*texts: bytes) -> bytes:
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def test_texts_come_as_json_or_as_bytes() -> None:
    assert v2.read(body(data=["a"]), b"", READER).values == ["a"]
    raw = packed("grüß".encode(), b"")
    given = body(shape=[2, 1], parameters={"binary_data_size": len(raw)})
    assert v2.read(given, raw, READER).values == ["grüß", ""]


@pytest.mark.parametrize(
    ("given", "binary", "reason"),
    [
        (body(parameters={"binary_data_size": 5}), packed(b"\xff"), r"inputs\[0\]\.data\[0\]: not UTF-8"),
        (body(parameters={"binary_data_size": 5}), b"", "5 was announced, 0 bytes follow"),
        (body(parameters={"binary_data_size": 4}), b"\xff\xff\xff\xff", "ends within element 0"),
        (body(parameters={"binary_data_size": 4_000_000}), b"\x00" * 4_000_000, "more than the 3 elements"),
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
        v2.read(given, binary, READER, {"model_name": "toy", "model_version": "3"})


def test_a_body_may_repeat_what_answers_it() -> None:
    given = {**body(data=["a"], parameters=None), "model_name": "toy", "model_version": ""}
    assert v2.read(given, b"", READER, {"model_name": "toy", "model_version": "3"}).values == ["a"]


def journeys(**tensor: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "journey", "datatype": "FP32", "shape": [2, 2], **tensor}]}


NUMBERS = [[1.0, 2.0], [3.0, 4.5]]
RAW = np.array(NUMBERS, dtype="<f4").tobytes()
NAN = np.array([np.nan, 1], dtype="<f4").tobytes()


def test_a_tensor_of_numbers_comes_nested_flat_or_as_bytes_and_its_rows_are_the_instances() -> None:
    flat = [each for row in NUMBERS for each in row]
    as_bytes = journeys(parameters={"binary_data_size": len(RAW)})
    for body, binary in ((journeys(data=NUMBERS), b""), (journeys(data=flat), b""), (as_bytes, RAW)):
        assert v2.read(body, binary, JOURNEYS).values == [(1.0, 2.0), (3.0, 4.5)]


@pytest.mark.parametrize(
    ("given", "binary", "reason"),
    [
        ({"inputs": []}, b"", r'"inputs" must hold one tensor, journey: FP32 \[-1, 2\], got 0 tensors'),
        (journeys(data=NUMBERS, datatype="FP64"), b"", r"inputs\[0\]\.datatype must be FP32, got 'FP64'"),
        (journeys(data=[1, 2, 3]), b"", r"inputs\[0\]\.shape must be \[-1, 2\] and hold its 3 elements"),
        (journeys(data=NUMBERS, shape=[4]), b"", r"inputs\[0\]\.shape must be \[2, 2\] as its data is, got \[4\]"),
        (journeys(data=[[1, 2], [3, "x"]]), b"", r"inputs\[0\]\.data\[1\]\.passengers must be a number, got a string"),
        (journeys(data=[[1, 2], [3, [4]]]), b"", r"passengers must be a number, got a list"),
        (journeys(data=[[1, 2]] * 4, shape=[4, 2]), b"", "holds 4 instances, at most 3 are allowed"),
        (journeys(parameters={"binary_data_size": 32}, shape=[4, 2]), RAW * 2, "holds 4 instances, at most 3"),
        (journeys(parameters={"binary_data_size": 15}), RAW[:15], "15 bytes of binary data are no whole number"),
        (journeys(parameters={"binary_data_size": 8}, shape=[2, 0]), RAW[:8], r"shape must be \[1, 2\] as its data is"),
        (journeys(parameters={"binary_data_size": 8}, shape=[1, 2]), NAN, r"\.stops must be a number, got NaN"),
        ({**journeys(data=NUMBERS), "outputs": [{"name": "label"}]}, b"", "'label' is no output; there are minutes"),
    ],
)
def test_a_tensor_that_is_not_the_inputs_own_is_refused_with_the_reason(given: Any, binary: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        v2.read(given, binary, JOURNEYS)


ARRAYS = st.sampled_from(["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])


@given(ARRAYS, st.booleans(), st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_outputs_of_any_datatype_come_back_as_json_and_as_bytes(
    dtype: str, is_binary: bool, shape: list[int], seed: int
) -> None:
    [name] = [name for name, code in v2.TYPES.items() if np.dtype(code) == np.dtype(f"<{dtype}")]
    value = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    query = v2.V2Query([], READER.nothing_asked, None, {"x": is_binary})
    data, headers = v2.write(query, "m", "1", {"x": (name, [-1])}, {"x": value.astype("f8")})
    head = json.loads(data[: int(headers[v2.JSON_LENGTH])] if is_binary else data)["outputs"][0]
    back = np.frombuffer(data[int(headers[v2.JSON_LENGTH]) :], f"<{dtype}") if is_binary else np.array(head["data"])
    assert (head["datatype"], head["shape"]) == (name, shape)
    np.testing.assert_array_equal(back, value.ravel())


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
    understood_or_refused(lambda: v2.read(given, binary, READER))


NUMERIC = st.fixed_dictionaries(
    {"name": JSON, "datatype": st.just("FP32"), "shape": JSON | st.lists(st.integers(-1, 3), max_size=4)},
    optional={"data": JSON | st.lists(st.lists(JSON | st.floats(0, 9), max_size=3), max_size=4), "parameters": JSON},
)


@given(st.fixed_dictionaries({"inputs": st.lists(NUMERIC, max_size=1)}), st.binary(max_size=3).map(lambda b: b * 8))
def test_any_tensor_of_numbers_is_understood_or_refused_in_one_line(given: Any, binary: bytes) -> None:
    if given["inputs"] and binary:
        given["inputs"][0]["parameters"] = {"binary_data_size": len(binary)}
        given["inputs"][0].pop("data", None)
    query, reason = None, ""
    try:
        query = v2.read(given, binary, JOURNEYS)
    except BadRequest as refused:
        reason = str(refused)
    assert len(reason.splitlines()) == (query is None)
    assert query is None or all(len(value) == 2 for value in query.values)
