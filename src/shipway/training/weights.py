"""Hashes of what was trained, equal for an equal training whatever its files' bytes are.

Files of two equal trainings differ: TensorFlow writes variables in the order of their addresses, converters number
nodes by chance or name a graph by a UUID.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.scoring.wire import fields, mapped, messages

_GRAPH, _NODE, _INITIALIZER, _INPUT, _OUTPUT = 7, 1, 5, 11, 12  # of ModelProto and GraphProto in onnx/onnx.proto
_NODE_NAMES, _NODE_REST = (1, 2), (4, 5, 7)  # inputs and outputs; operation, attributes, domain
_TENSOR_NAME, _TENSOR_DOC = 8, 12


def hash_arrays(weights: Iterable[NDArray[Any]]) -> str:
    """Of a model's weights in its own order: dtypes, shapes and bytes.

    Not of their names, which Keras numbers over all models of a process.
    """
    whole = hashlib.sha256()
    for value in weights:
        whole.update(f"{value.dtype.str} {value.shape}\n".encode())
        whole.update(np.ascontiguousarray(value).tobytes())
    return whole.hexdigest()


def hash_onnx(path: Path) -> str:
    """Of an ONNX file's graph: its tensors, and its operations with their attributes and what they read and give.

    Names of tensors count by where each is met first, other names and comments not at all. Graphs within attributes
    count by their bytes.
    """
    whole, numbers = hashlib.sha256(), dict[bytes, int]()

    def add(what: int, value: bytes | memoryview) -> None:
        whole.update(struct.pack("<qq", what, len(value)))
        whole.update(value)

    def add_name(what: int, value: bytes) -> None:
        add(what, struct.pack("<q", numbers.setdefault(value, len(numbers)) if value else -1))

    def add_fields(message: memoryview, names: tuple[int, ...], rest: tuple[int, ...] = (), *but: int) -> None:
        for number, _, value in fields(message):
            content = struct.pack("<Q", value) if isinstance(value, int) else value
            if number in names:
                add_name(number, bytes(content))
            elif number not in but and (not rest or number in rest):
                add(number, content)

    for graph in messages(mapped(path), _GRAPH):
        for end in (_INPUT, _OUTPUT):  # by their own names: those are the signature's
            for value in messages(graph, end):
                for name in messages(value, 1):
                    add(end, name)
                    add_name(end, bytes(name))
        for tensor in messages(graph, _INITIALIZER):
            add(_INITIALIZER, b"")
            add_fields(tensor, (_TENSOR_NAME,), (), _TENSOR_DOC)
        for node in messages(graph, _NODE):
            add(_NODE, b"")
            add_fields(node, _NODE_NAMES, _NODE_REST)
    return whole.hexdigest()
