"""The Open Inference Protocol (V2) over REST: a request's bytes to a query, tensors to an answer's bytes.

A request brings one tensor, `Input.tensor`, whose items along the first dimension are the instances; `Answers.tensors`
says which tensors are answered. They come and go as JSON or, by the binary tensor data extension, as bytes behind the
JSON, whose length then stands in the header `Inference-Header-Content-Length`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shipway.components.predict.core import Query, Reader, read_instances, read_params
from shipway.inputs.base import BadRequest
from shipway.inputs.json_kinds import check_names, kind_of, shown

JSON_LENGTH = "inference-header-content-length"
FIELDS = ("id", "inputs", "outputs", "parameters", "model_name", "model_version")  # kserve's client repeats the model
INPUT_FIELDS = ("name", "shape", "datatype", "data", "parameters")
BYTES = "BYTES"
DATA = "inputs[0].data"
MAX_RANK = 8
TYPES = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"} | {
    f"{sign}INT{8 * size}": f"<{code}{size}" for sign, code in (("", "i"), ("U", "u")) for size in (1, 2, 4, 8)
}


@dataclass(frozen=True)
class V2Query(Query):
    """A query that is answered as tensors.

    Attributes:
        request_id: Comes back in the answer; None: none was given.
        outputs: Output -> whether it is sent as bytes, in the order that was asked for.
    """

    request_id: str | None
    outputs: dict[str, bool]


def read(body: Any, binary: bytes, reader: Reader, served: Mapping[str, str] | None = None) -> V2Query:
    """The query of a V2 request.

    Args:
        body: The parsed JSON.
        binary: What follows it.
        reader: What the request may hold.
        served: `model_name` and `model_version` of the model that answers; a body that repeats them means these.

    Raises:
        BadRequest: says which part is wrong, what was given and what is expected.
    """
    check_names(body, FIELDS, "the body")
    for field, own in (served or {}).items():
        if body.get(field) not in (None, "", own):
            raise BadRequest(f'"{field}": {shown(body[field])} is not served here; {own or "an unnamed one"} is')
    request_id = body.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadRequest(f'"id" must be a string, got {kind_of(request_id)}')
    inputs = body.get("inputs")
    name, datatype, shape = reader.kind.tensor
    if not isinstance(inputs, list) or len(inputs) != 1:
        given = f"{len(inputs)} tensors" if isinstance(inputs, list) else kind_of(inputs)
        raise BadRequest(f'"inputs" must hold one tensor, {name}: {datatype} {shape}, got {given}')
    instances = _read_input(inputs[0], binary, reader)
    parameters = body.get("parameters")
    is_binary = False
    if isinstance(parameters, Mapping) and "binary_data_output" in parameters:
        is_binary = _flag(parameters["binary_data_output"], "parameters.binary_data_output")
    return V2Query(
        read_instances(instances, DATA, reader),
        read_params(parameters, reader, ("binary_data_output",)),
        request_id,
        _read_outputs(body.get("outputs"), is_binary, reader.answers.tensors),
    )


def _read_input(tensor: Any, binary: bytes, reader: Reader) -> list[Any]:
    """The tensor's items along its first dimension."""
    _, datatype, sides = reader.kind.tensor
    check_names(tensor, INPUT_FIELDS, "inputs[0]")
    if tensor.get("datatype") != datatype:
        raise BadRequest(f"inputs[0].datatype must be {datatype}, got {shown(tensor.get('datatype'))}")
    parameters = _given(tensor, "parameters")
    check_names(parameters, ("binary_data_size", "content_type"), "inputs[0].parameters")
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in tensor):
        raise BadRequest("inputs[0] must have either data or parameters.binary_data_size")
    if type(size) not in (int, NoneType) or (size or 0) != len(binary):
        raise BadRequest(
            f"inputs[0].parameters.binary_data_size: {shown(size)} was announced, {len(binary)} bytes follow"
        )
    if size is None and not isinstance(tensor["data"], list):
        raise BadRequest(f"inputs[0].data must be a list, got {kind_of(tensor['data'])}")
    if size is not None and datatype != BYTES:
        array = _numbers(binary, TYPES[datatype])
        items: list[Any] = array.reshape(_shape(tensor.get("shape"), sides, len(array), reader.max_instances)).tolist()
        return items
    if size is None:
        flat = _flat(tensor["data"], max(len(sides), 2))
    else:
        per_item = math.prod(sides[1:])
        flat = list(_unpack(binary, reader.max_instances * per_item if per_item > 0 else reader.json_tokens))
    return _nested(flat, _shape(tensor.get("shape"), sides, len(flat), reader.max_instances))


def _flat(data: list[Any], depth: int) -> list[Any]:
    """A tensor's elements, row by row: its data may be nested as its shape is, or flat."""
    for _ in range(depth - 1):
        if not any(isinstance(item, list) for item in data):
            break
        data = [leaf for item in data for leaf in (item if isinstance(item, list) else [item])]
    return data


def _numbers(binary: bytes, dtype: str) -> NDArray[Any]:
    width = np.dtype(dtype).itemsize
    if len(binary) % width:
        raise BadRequest(f"inputs[0]: {len(binary)} bytes of binary data are no whole number of elements of {width}")
    return np.frombuffer(binary, dtype)


def _shape(given: Any, sides: list[int], n: int, most: int) -> list[int]:
    """The tensor's shape, which must be what its input says and what its data holds; further sides of 1 are let be."""
    is_shape = isinstance(given, list) and len(given) <= MAX_RANK and all(type(side) is int for side in given)
    shape: list[int] = given if is_shape and min(given[1:], default=1) > 0 else []
    while len(shape) > len(sides) and shape[-1] == 1:
        shape = shape[:-1]
    fits = len(shape) == len(sides) and all(own in (-1, side) for own, side in zip(sides, shape, strict=True))
    if not fits or math.prod(shape) != n:
        per_item = math.prod(sides[1:])
        if per_item <= 0 or n % per_item:
            raise BadRequest(f"inputs[0].shape must be {sides} and hold its {n} elements, got {shown(given)}")
        expected = [n // per_item, *sides[1:]]
        column = f" or {[*expected, 1]}" if len(sides) == 1 else ""
        raise BadRequest(f"inputs[0].shape must be {expected}{column} as its data is, got {shown(given)}")
    if shape[0] > most:
        raise BadRequest(f'"{DATA}" holds {shape[0]} instances, at most {most} are allowed')
    return shape


def _nested(flat: list[Any], shape: Sequence[int]) -> list[Any]:
    for side in reversed(shape[1:]):
        flat = [flat[i : i + side] for i in range(0, len(flat), side)]
    return flat


def _unpack(binary: bytes, most: int) -> Iterator[bytes]:
    """Elements of a BYTES tensor: each its length as 4 bytes, little-endian, and its content."""
    position = count = 0
    while position < len(binary):
        if count > most:
            raise BadRequest(f'"{DATA}" holds more than the {most} elements that are allowed')
        length = int.from_bytes(binary[position : position + 4], "little")
        start, position = position + 4, position + 4 + length
        if position > len(binary):
            raise BadRequest(f"inputs[0]: the binary data ends within element {count}")
        count += 1
        yield binary[start:position]


def _read_outputs(outputs: Any, is_binary: bool, known: Mapping[str, Any]) -> dict[str, bool]:
    if outputs is None or outputs == []:
        return dict.fromkeys(known, is_binary)
    if not isinstance(outputs, list):
        raise BadRequest(f'"outputs" must be a list of objects, got {kind_of(outputs)}')
    chosen: dict[str, bool] = {}
    for i, output in enumerate(outputs):
        where = f"outputs[{i}]"
        check_names(output, ("name", "parameters"), where)
        name = output.get("name")
        if not isinstance(name, str) or name not in known:
            raise BadRequest(f"{where}.name: {shown(name)} is no output; there are {', '.join(known)}")
        if name in chosen:
            raise BadRequest(f"{where}.name: {name} is asked for twice")
        parameters = _given(output, "parameters")
        check_names(parameters, ("binary_data",), f"{where}.parameters")
        chosen[name] = _flag(parameters.get("binary_data", is_binary), f"{where}.parameters.binary_data")
    return chosen


def _given(mapping: Mapping[str, Any], name: str) -> Any:
    """What stands there; null is not given."""
    value = mapping.get(name)
    return {} if value is None else value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{where} must be true or false, got {kind_of(value)}")
    return value


def write(
    query: V2Query, model: str, version: str, datatypes: Mapping[str, tuple[str, Any]], tensors: Mapping[str, Any]
) -> tuple[bytes, dict[str, str]]:
    """The answer's bytes and headers.

    Args:
        query: Which outputs, and how each is sent.
        model, version: That answered.
        datatypes: `Answers.tensors`.
        tensors: Arrays by those names.
    """
    outputs, binary = [], b""
    for name, is_binary in query.outputs.items():
        value, datatype = tensors[name], datatypes[name][0]
        output: dict[str, Any] = {"name": name, "shape": list(value.shape), "datatype": datatype}
        flat: NDArray[Any] = value.ravel()
        if datatype != BYTES:
            flat = np.ascontiguousarray(flat, dtype=TYPES[datatype])
        if is_binary:
            data = _pack(flat.tolist()) if datatype == BYTES else flat.tobytes()
            output["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            output["data"] = flat.tolist() if datatype == BYTES else flat
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if query.request_id is not None:
        answer["id"] = query.request_id
    head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(query.outputs.values()):
        return head, {"content-type": "application/json"}
    return head + binary, {"content-type": "application/octet-stream", JSON_LENGTH: str(len(head))}


def _pack(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
