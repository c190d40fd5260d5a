"""What an ONNX file holds, checked before ONNX Runtime opens it: which operations, and how large they say they are.

Read are the fields of onnx/onnx.proto; the numbers below are its. What grows is bounded by `onnx_sizes`.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shipway.errors import CorruptArtifact
from shipway.scoring.onnx_sizes import MAX_ELEMENTS, MAX_FOLDED, UNKNOWN, Refused, Size, sizes_of_outputs
from shipway.scoring.operations import ONNX, SETTING, allowed
from shipway.scoring.wire import Malformed, Value, fields, integers, mapped, messages, text, texts

MAX_BYTES = 2 << 30  # of the file: what a protocol buffer may have
MAX_NODES = 100_000
MAX_RANK = 32
MAX_DEPTH = 8  # of graphs within graphs
MAX_ATTRIBUTE = 1 << 20  # a pad or a kernel; larger ones are no attribute of a model but a way to fill memory
_SMALL = 64  # elements of a constant that may be a shape
_DOMAINS = ("", "ai.onnx")
_IMPORTED = (*_DOMAINS, "ai.onnx.ml")
# Attributes of ai.onnx.ml that say how many answers a row gets: a number, or one name for each.
_COUNTS, _NAMES = ("n_targets", "targets"), ("classlabels_int64s", "classlabels_ints")
# TensorProto.DataType -> bytes of an element, and the field that holds it where raw_data does not. No strings, no
# complex numbers, nothing narrower than a byte.
_TYPES = {
    1: (4, 4), 2: (1, 5), 3: (1, 5), 4: (2, 5), 5: (2, 5), 6: (4, 5), 7: (8, 7), 9: (1, 5), 10: (2, 5), 11: (8, 10),
    12: (4, 11), 13: (8, 11), 16: (2, 5),
}  # fmt: skip
_INTEGERS = {2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 12: np.uint32, 13: np.uint64}
_FLOATS = {1: np.float32, 11: np.float64}


@dataclass
class _Seen:
    operations: frozenset[str]
    nodes: int = 0
    grown: list[int] = field(default_factory=lambda: [0])
    held: int = 0  # elements of the tensors in the file
    folded: int = 0  # of what is computed from those alone, when the file is opened


def check_onnx(path: Path) -> None:
    """Refuses an ONNX file that could do more than compute, or that says more than it holds.

    Raises:
        CorruptArtifact: names the operation or the tensor and the file, and what to set where an operation is wanted.
    """
    try:
        size = path.stat().st_size if path.is_file() else 0
        if path.is_symlink() or not 0 < size <= MAX_BYTES:
            raise Refused(f"it has {size} bytes or is a link, expected a file of 1 to {MAX_BYTES}")
        _check_model(mapped(path))
    except Refused as error:
        raise CorruptArtifact(f"{path}: {error}; the model was not opened") from None
    except Malformed as error:
        raise CorruptArtifact(f"{path}: not an ONNX model ({error}); the model was not opened") from error


def _check_model(model: memoryview) -> None:
    graphs = []
    for number, _, value in fields(model):
        if number == 7 and not isinstance(value, int):
            graphs.append(value)
        elif number == 8 and not isinstance(value, int):
            for domain in texts(value, 1):
                if domain not in _IMPORTED:
                    raise Refused(f"it imports operations of the domain {domain!r}; allowed are ai.onnx and ai.onnx.ml")
        elif number in (20, 25):
            raise Refused(f"it holds {'training graphs' if number == 20 else 'functions of its own'}, as ours never do")
    if len(graphs) != 1:
        raise Refused(f"it holds {len(graphs)} graphs, expected one")
    _check_graph(graphs[0], _Seen(allowed(ONNX)), ChainMap(), MAX_DEPTH)


def _check_graph(graph: memoryview, seen: _Seen, outer: ChainMap[str, Size], depth: int) -> list[Size]:
    """One graph, within `outer`: the sizes of what it may name of the graphs around it. Gives those of its outputs."""
    if depth == 0:
        raise Refused(f"it holds graphs nested more than {MAX_DEPTH} deep")
    sizes = ChainMap[str, Size]({}, *outer.maps)  # no copy: there may be as many graphs as names
    nodes, outputs = [], []
    declared: dict[str, int] = {}  # elements that a tensor is said to have: a runtime believes it
    for number, _, value in fields(graph):
        if isinstance(value, int):
            continue
        if number == 1:
            nodes.append(value)
        elif number == 5:
            name, size = _tensor(value)
            sizes[name] = size
            seen.held += size.elements
        elif number == 15:
            raise Refused("it holds sparse tensors, which say any size")
        elif number == 11:
            for name in texts(value, 1):
                said = _declared(
                    value, name
                )  # of a loop's body it is what is carried on, at most what is known outside
                sizes.maps[0].setdefault(name, Size.given(said if depth == MAX_DEPTH else 1))
        elif number in (12, 13):
            names = texts(value, 1)
            shapes = {name: _declared(value, name) for name in names}
            declared |= shapes if depth == MAX_DEPTH else {}
            outputs += names if number == 12 else []
    seen.nodes += len(nodes)
    if seen.nodes > MAX_NODES:
        raise Refused(f"it has more than {MAX_NODES} operations")
    for node in nodes:
        _check_node(node, seen, sizes, depth, declared)
    return [sizes.get(name, Size.given()) for name in outputs]


def _declared(info: memoryview, name: str) -> int:
    """Elements that a ValueInfoProto says, what it leaves open counted as one."""
    elements = 1
    for kind in messages(info, 2):
        for tensor in messages(kind, 1):
            for shape in messages(tensor, 2):
                for dimension in messages(shape, 1):
                    elements = min(elements * max([*integers(dimension, 1), 1]), UNKNOWN)
    if elements > MAX_ELEMENTS:
        raise Refused(f"tensor {name!r} is said to have more than {MAX_ELEMENTS} elements")
    return elements


def _check_node(
    node: memoryview, seen: _Seen, sizes: ChainMap[str, Size], depth: int, declared: Mapping[str, int]
) -> None:
    inputs, outputs, attributes = [], [], []
    operation = domain = name = ""
    for number, _, value in fields(node):
        if number == 1:
            inputs.append(text(value))
        elif number == 2:
            outputs.append(text(value))
        elif number == 3:
            name = text(value)
        elif number == 4:
            operation = text(value)
        elif number == 7:
            domain = text(value)
        elif number == 5 and not isinstance(value, int):
            attributes.append(value)
    full = operation if domain in _DOMAINS else f"{domain}:{operation}"
    if full not in seen.operations:
        raise Refused(
            f"operation {full!r} (node {name!r}) is not among those that a served model may hold. If you know what it "
            f"does and want it: {SETTING}={full}"
        )
    constant: Size | None = None
    inner: list[Size] = []
    for attribute in attributes:
        tensor, graphs = _check_attribute(attribute, seen, sizes, depth)
        constant, inner = tensor or constant, [*inner, *graphs]
    where = f"operation {operation!r} (node {name!r})"
    missing = next((each for each in inputs if each and each not in sizes), None)
    if missing is not None:
        raise Refused(f"{where} reads {missing!r}, which nothing before it gives")
    given = [sizes[each] if each else None for each in inputs]
    axis = next((i for each in attributes if texts(each, 1) == ["axis"] for i in integers(each, 3)), 0)
    output_sizes = sizes_of_outputs(operation, given, axis, where, seen.grown)
    if operation == "Constant" and constant is not None:
        output_sizes = constant
    if domain not in _DOMAINS:
        output_sizes = replace(
            output_sizes, elements=max(output_sizes.elements, *(_answers(each) for each in attributes), 1)
        )
    results = [output_sizes] * len(outputs)
    if inner:  # a loop's first inner output is its condition; what it carries on may be anything, but is so large
        results = [Size(max(size.elements for size in inner), UNKNOWN)] * len(outputs)
    if output_sizes.is_constant and operation != "Constant":
        seen.folded += output_sizes.elements * (1 if operation == "Split" else len(outputs))
        if seen.folded > MAX_FOLDED + 4 * seen.held:
            raise Refused(
                f"{where}: with it, opening the file computes {seen.folded} elements of {seen.held} that it holds; "
                f"allowed are {MAX_FOLDED} and four times those"
            )
    for each, size in zip(outputs, results, strict=True):
        if each:
            sizes[each] = replace(size, elements=max(size.elements, declared.get(each, 1)))


def _answers(attribute: memoryview) -> int:
    """Answers of a row that an attribute asks for; 0 where it says nothing of that."""
    name = texts(attribute, 1)[:1]
    if name and name[0] in _COUNTS:
        return max([*integers(attribute, 3), 0])
    return len(integers(attribute, 8)) if name and name[0] in _NAMES else 0


def _check_attribute(
    attribute: memoryview, seen: _Seen, sizes: ChainMap[str, Size], depth: int
) -> tuple[Size | None, list[Size]]:
    """Walks its graphs and tensors; the size of its tensor, which is a Constant's value, and of its graphs' outputs."""
    result = None
    single = 0
    inner: list[Size] = []
    for number, _, value in fields(attribute):
        if number in (5, 10) and not isinstance(value, int):
            result = _tensor(value)[1]
            seen.held += result.elements
        elif number in (6, 11) and not isinstance(value, int):
            inner += _check_graph(value, seen, sizes, depth - 1)
        elif number in (22, 23):
            raise Refused("it holds sparse tensors, which say any size")
        if number in (5, 6):
            single += 1
    if single > 1:  # a parser would make one of them
        raise Malformed("an attribute holds several values")
    numbers = [*integers(attribute, 3), *integers(attribute, 8)]
    if any(abs(each) > MAX_ATTRIBUTE for each in numbers):
        raise Refused(f"an attribute says {max(numbers, key=abs)}, allowed are numbers up to {MAX_ATTRIBUTE}")
    if result is None and numbers:  # value_int, value_ints
        result = Size.constant((len(numbers),), numbers)
    return result, inner


def _tensor(tensor: memoryview) -> tuple[str, Size]:
    """A tensor's name and size; its bytes must be as many as its shape says."""
    name, kind, raw = "", 0, None
    data: dict[int, list[Value]] = {}
    for number, _, value in fields(tensor):
        if number == 2:
            kind = value if isinstance(value, int) else 0
        elif number == 8:
            name = text(value)
        elif number == 9 and not isinstance(value, int):
            raw = value
        elif number in (4, 5, 6, 7, 10, 11):
            data.setdefault(number, []).append(value)
        elif number == 13 or (number == 14 and value):
            raise Refused(f"tensor {name!r} lies in another file; expected all of the model in this one")
    dims = integers(tensor, 1)
    if kind not in _TYPES or len(dims) > MAX_RANK or any(size < 0 for size in dims):
        raise Refused(
            f"tensor {name!r} is of type {kind} and shape {dims[:MAX_RANK]}; expected numbers and sizes from 0"
        )
    width, place = _TYPES[kind]
    elements = math.prod(dims)
    held = len(raw) / width if raw is not None else sum(_count(part, place) for part in data.get(place, []))
    if held != elements or set(data) - {place} or (raw is not None and data):
        raise Refused(f"tensor {name!r} says {elements} elements (shape {dims}) and holds {held:g}")
    return name, Size.constant(tuple(dims), _small_values(tensor, kind, raw, place) if elements <= _SMALL else None)


def _count(part: Value, place: int) -> float:
    """Numbers in a packed field, or the one of a field that is not."""
    if isinstance(part, int):
        return 1
    if place in (5, 7, 11):
        return int((np.frombuffer(part, np.uint8) < 0x80).sum())  # each varint ends with one such byte
    return max(len(part) / (4 if place == 4 else 8), 0)


def _small_values(tensor: memoryview, kind: int, raw: memoryview | None, place: int) -> list[int] | None:
    """A small tensor's values as integers, for it may be a shape; None for what cannot be read as that."""
    if raw is not None:
        known = _INTEGERS.get(kind) or _FLOATS.get(kind)
        if known is None:
            return None
        values = np.frombuffer(raw, np.dtype(known).newbyteorder("<"))
        return [int(v) if np.isfinite(v) else MAX_ELEMENTS + 1 for v in values]
    return integers(tensor, place) if kind in _INTEGERS else None
