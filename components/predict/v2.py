"""The Open Inference Protocol (V2) over REST: a request's bytes to a query, tensors to an answer's bytes.

Tensors come and go as JSON or, by the binary tensor data extension, as bytes behind the JSON, whose length then stands
in the header `Inference-Header-Content-Length`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shipway.components.predict.core import BadRequest, Limits, Query, check_names, kind_of, read_texts, shown

JSON_LENGTH = "inference-header-content-length"
FIELDS = ("id", "inputs", "outputs", "parameters", "model_name", "model_version")  # kserve's client repeats the model
INPUT_FIELDS = ("name", "shape", "datatype", "data", "parameters")
OUTPUTS = {"label": "BYTES", "out_of_scope": "BOOL", "probability": "FP32", "labels": "BYTES", "probabilities": "FP32"}
_TYPES = {"BOOL": "?", "FP32": "<f4"}


class V2Query(Query):
    """A query that is answered as tensors.

    Attributes:
        request_id: Comes back in the answer; None: none was given.
        outputs: Output -> whether it is sent as bytes, in the order that was asked for.
    """

    def __init__(self, query: Query, request_id: str | None, outputs: Mapping[str, bool]) -> None:
        super().__init__(query.texts, query.top_k)
        object.__setattr__(self, "request_id", request_id)
        object.__setattr__(self, "outputs", dict(outputs))

    request_id: str | None
    outputs: dict[str, bool]


def read(body: Any, binary: bytes, limits: Limits, served: Mapping[str, str] | None = None) -> V2Query:
    """The query of a V2 request.

    Args:
        body: The parsed JSON.
        binary: What follows it.
        limits: Of one request.
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
    if not isinstance(inputs, list) or len(inputs) != 1:
        given = f"{len(inputs)} tensors" if isinstance(inputs, list) else kind_of(inputs)
        raise BadRequest(f'"inputs" must hold one BYTES tensor of texts, got {given}')
    texts = _read_input(inputs[0], binary, limits)
    parameters = body.get("parameters")
    is_binary = False
    if isinstance(parameters, Mapping) and "binary_data_output" in parameters:
        is_binary = _flag(parameters["binary_data_output"], "parameters.binary_data_output")
    query = read_texts(texts, parameters, limits, "inputs[0].data", ("top_k", "binary_data_output"))
    return V2Query(query, request_id, _read_outputs(body.get("outputs"), is_binary))


def _read_input(tensor: Any, binary: bytes, limits: Limits) -> list[Any]:
    check_names(tensor, INPUT_FIELDS, "inputs[0]")
    if tensor.get("datatype") != "BYTES":
        raise BadRequest(f"inputs[0].datatype must be BYTES, got {shown(tensor.get('datatype'))}")
    parameters = _given(tensor, "parameters")
    check_names(parameters, ("binary_data_size", "content_type"), "inputs[0].parameters")
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in tensor):
        raise BadRequest("inputs[0] must have either data or parameters.binary_data_size")
    if type(size) not in (int, NoneType) or (size or 0) != len(binary):
        raise BadRequest(
            f"inputs[0].parameters.binary_data_size: {shown(size)} was announced, {len(binary)} bytes follow"
        )
    if size is not None:
        data = list(_unpack(binary, limits.max_instances))
    else:
        if not isinstance(tensor["data"], list):
            raise BadRequest(f"inputs[0].data must be a list of texts, got {kind_of(tensor['data'])}")
        data = [leaf for item in tensor["data"] for leaf in (item if isinstance(item, list) else [item])]
    n, shape = len(data), tensor.get("shape")
    if shape not in ([n], [n, 1]) or any(type(side) is not int for side in shape):
        raise BadRequest(f"inputs[0].shape must be [{n}] or [{n}, 1] as its data is, got {shown(shape)}")
    return data


def _unpack(binary: bytes, most: int) -> Iterator[bytes]:
    """Elements of a BYTES tensor: each its length as 4 bytes, little-endian, and its content."""
    position = count = 0
    while position < len(binary):
        if count > most:
            raise BadRequest(f'"inputs[0].data" holds more than the {most} texts that are allowed')
        length = int.from_bytes(binary[position : position + 4], "little")
        start, position = position + 4, position + 4 + length
        if position > len(binary):
            raise BadRequest(f"inputs[0]: the binary data ends within text {count}")
        count += 1
        yield binary[start:position]


def _read_outputs(outputs: Any, is_binary: bool) -> dict[str, bool]:
    if outputs is None or outputs == []:
        return dict.fromkeys(OUTPUTS, is_binary)
    if not isinstance(outputs, list):
        raise BadRequest(f'"outputs" must be a list of objects, got {kind_of(outputs)}')
    chosen: dict[str, bool] = {}
    for i, output in enumerate(outputs):
        where = f"outputs[{i}]"
        check_names(output, ("name", "parameters"), where)
        name = output.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise BadRequest(f"{where}.name: {shown(name)} is no output; there are {', '.join(OUTPUTS)}")
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
    query: V2Query, model: str, version: str, tensors: Mapping[str, NDArray[Any]]
) -> tuple[bytes, dict[str, str]]:
    """The answer's bytes and headers.

    Args:
        tensors: By the names of `OUTPUTS`.
    """
    outputs, binary = [], b""
    for name, is_binary in query.outputs.items():
        value = tensors[name]
        output: dict[str, Any] = {"name": name, "shape": list(value.shape), "datatype": OUTPUTS[name]}
        flat = value.ravel()
        if is_binary:
            data = _pack(flat.tolist()) if OUTPUTS[name] == "BYTES" else flat.astype(_TYPES[OUTPUTS[name]]).tobytes()
            output["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            output["data"] = flat.tolist() if flat.dtype == object else np.ascontiguousarray(flat)
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
