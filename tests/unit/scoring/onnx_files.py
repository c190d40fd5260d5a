"""ONNX files as the exporter writes them and as an attacker would, made with the `onnx` package."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, StringStringEntryProto, TensorProto, helper, numpy_helper

BIG = 1 << 40


def values(name: str, *numbers: int) -> TensorProto:
    return numpy_helper.from_array(np.array(numbers, dtype=np.int64), name)


def model(nodes: list[Any], constants: list[Any] = (), **fields: Any) -> ModelProto:  # type: ignore[assignment]
    """`x`, float32 (n, 4), to `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, **fields)


def node(operation: str, inputs: list[str], *outputs: str, **attributes: Any) -> Any:
    return helper.make_node(operation, inputs, list(outputs) or ["y"], name=f"the_{operation}", **attributes)


def claims(dims: list[int], raw: bytes) -> TensorProto:
    """A tensor that says one size and holds another."""
    return TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, raw_data=raw)


def external() -> TensorProto:
    entry = StringStringEntryProto(key="location", value="../../etc/passwd")
    return TensorProto(name="w", dims=[4], data_type=1, data_location=1, external_data=[entry])


def inner(nodes: list[Any], constants: list[Any] = (), inputs: list[str] = ()) -> GraphProto:  # type: ignore[assignment]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs]
    return helper.make_graph(
        nodes, "inner", info, [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)], list(constants)
    )


def _in_an_if() -> ModelProto:
    grown = inner([node("Expand", ["x", "huge"], "z")], [values("huge", 100_000, 100_000)])
    small = inner([node("Identity", ["x"], "z")])
    condition = numpy_helper.from_array(np.array(True), "c")
    return model([node("If", ["c"], then_branch=small, else_branch=grown)], [condition])


def _with_a_function() -> ModelProto:
    made = model([node("Relu", ["x"])])
    made.functions.append(
        helper.make_function(
            "local", "Relu", ["a"], ["b"], [node("Identity", ["a"], "b")], [helper.make_opsetid("", 17)]
        )
    )
    return made


def _sparse() -> ModelProto:
    made = model([node("Add", ["x", "w"])])
    sparse = made.graph.sparse_initializer.add()
    sparse.dims.extend([BIG])
    return made


def _doubled() -> ModelProto:
    names = ["x", *(f"t{i}" for i in range(40))]
    steps = [node("Concat", [a, a], b, axis=0) for a, b in itertools.pairwise(names)]
    return model([*steps, node("Identity", [names[-1]])])


def _column_and_row() -> ModelProto:
    column = numpy_helper.from_array(np.zeros((50_000, 1), np.float32), "c")
    row = numpy_helper.from_array(np.zeros((1, 50_000), np.float32), "r")
    return model([node("Add", ["c", "r"], "t"), node("ReduceSum", ["t"])], [column, row])


def _squared() -> ModelProto:
    names = [f"s{i}" for i in range(8)]
    steps = [node("Mul", [a, a], b) for a, b in itertools.pairwise(names)]
    return model([*steps, node("ConstantOfShape", [names[-1]])], [values(names[0], 16)])


def _shape_from_the_request() -> ModelProto:
    return model([node("Cast", ["x"], "s", to=TensorProto.INT64), node("ConstantOfShape", ["s"])])


def _undeclared() -> ModelProto:
    return model([node("Relu", ["nobody"])])


def _deep() -> ModelProto:
    graph = inner([node("Identity", ["x"], "z")])
    for _ in range(20):
        graph = inner([node("If", ["c"], "z", then_branch=graph, else_branch=inner([node("Identity", ["x"], "z")]))])
    return model(
        [node("If", ["c"], then_branch=graph, else_branch=graph)], [numpy_helper.from_array(np.array(True), "c")]
    )


def _many_graphs() -> ModelProto:
    """As many names as graphs that see them."""
    small = inner([node("Identity", ["x"], "z")])
    steps = [node("If", ["c"], f"b{i}", then_branch=small, else_branch=small) for i in range(20_000)]
    names = [claims([1], b"\0" * 4) for _ in range(20_000)]
    for i, each in enumerate(names):
        each.name = f"n{i}"
    condition = numpy_helper.from_array(np.array(True), "c")
    return model([*steps, node("ReadFile", ["x"])], [condition, *names])


def _declared(field: str) -> ModelProto:
    """A runtime takes a declared shape for the real one, and computes what hangs on it as it opens the file."""
    made = model(
        [
            node("NonZero", ["x"], "found"),
            node("Shape", ["found"], "s"),
            node("ConstantOfShape", ["s"]),
        ]
    )
    getattr(made.graph, field).append(helper.make_tensor_value_info("found", TensorProto.INT64, [2, 1 << 30]))
    return made


def _declared_input() -> ModelProto:
    made = model(
        [node("Shape", ["x"], "s"), node("Concat", ["s", "s"], "twice", axis=0), node("ConstantOfShape", ["twice"])]
    )
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 << 15]))
    return made


def _copies() -> ModelProto:
    """Each is as large as what it is made of; all are made when the file is opened."""
    steps = [node("Cast", ["w"], f"t{i}", to=TensorProto.DOUBLE) for i in range(40)]
    return model([*steps, node("Relu", ["x"])], [numpy_helper.from_array(np.zeros(1 << 20, np.float32), "w")])


def _training() -> ModelProto:
    made = model([node("Relu", ["x"])])
    made.training_info.add()
    return made


def _untyped_string() -> ModelProto:
    return model([node("Identity", ["w"])], [TensorProto(name="w", dims=[1], data_type=8, string_data=[b"a"])])


def _long_strings() -> ModelProto:
    made = model([node("Relu", ["x"])])
    made.graph.node[0].op_type = "A" * 10_000
    return made


# What is refused, and a word of the reason.
REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "a custom domain": (lambda: model([node("Relu", ["x"], domain="evil")]), "evil:Relu"),
    "an imported domain": (lambda: _imports(), "com.evil"),
    "a random tensor": (lambda: model([node("RandomNormal", [], shape=[100_000, 100_000])]), "RandomNormal"),
    "an unknown operation": (lambda: model([node("ReadFile", ["x"])]), "ReadFile"),
    "another file": (lambda: model([node("Add", ["x", "w"])], [external()]), "another file"),
    "more than it holds": (lambda: model([node("Add", ["x", "w"])], [claims([BIG], b"\0" * 16)]), "holds 4"),
    "less than it holds": (lambda: model([node("Add", ["x", "w"])], [claims([2], b"\0" * 16)]), "holds 4"),
    "a negative size": (lambda: model([node("Add", ["x", "w"])], [claims([-1], b"")]), "sizes from 0"),
    "a huge ConstantOfShape": (
        lambda: model([node("ConstantOfShape", ["s"])], [values("s", 100_000, 100_000)]),
        "ConstantOfShape",
    ),
    "a huge Expand": (lambda: model([node("Expand", ["x", "s"])], [values("s", 1 << 30, 4)]), "Expand"),
    "a huge Tile": (lambda: model([node("Tile", ["x", "s"])], [values("s", 1 << 30, 1)]), "Tile"),
    "a huge Pad": (lambda: model([node("Pad", ["x", "s"])], [values("s", 0, 0, 1 << 31, 0)]), "Pad"),
    "a huge Range": (
        lambda: model(
            [node("Range", ["a", "b", "c"])],
            [numpy_helper.from_array(np.array(n, np.int64), name) for name, n in (("a", 0), ("b", BIG), ("c", 1))],
        ),
        "Range",
    ),
    "a huge OneHot": (
        lambda: model(
            [node("Cast", ["x"], "i", to=TensorProto.INT64), node("OneHot", ["i", "d", "v"])],
            [values("d", BIG), values("v", 0, 1)],
        ),
        "OneHot",
    ),
    "a float that becomes a shape": (
        lambda: model(
            [node("Cast", ["f"], "s", to=TensorProto.INT64), node("ConstantOfShape", ["s"])],
            [numpy_helper.from_array(np.array([1e12], np.float32), "f")],
        ),
        "ConstantOfShape",
    ),
    "a shape that is multiplied up": (_squared, "ConstantOfShape"),
    "a shape that the request gives": (_shape_from_the_request, "cannot be told"),
    "a tensor beside itself forty times": (_doubled, "Concat"),
    "a column and a row": (_column_and_row, "Add"),
    "growth in a branch": (_in_an_if, "Expand"),
    "a function of its own": (_with_a_function, "functions of its own"),
    "a sparse tensor": (_sparse, "sparse"),
    "twenty thousand graphs that see as many names": (_many_graphs, "ReadFile"),
    "a size of a million factors": (
        lambda: model(
            [node("Constant", [], "s", value_ints=[1024] * 1_000_000), node("ConstantOfShape", ["s"])],
        ),
        "ConstantOfShape",
    ),
    "a tensor of a million dimensions": (
        lambda: model([node("Add", ["x", "w"])], [claims([1024] * 1_000_000, b"\0" * 4)]),
        "sizes from 0",
    ),
    "a declared size": (lambda: _declared("value_info"), "is said to have"),
    "a declared size of an output": (lambda: _declared("output"), "is said to have"),
    "a declared size of an input, squared": (_declared_input, "ConstantOfShape"),
    "copies of a constant": (_copies, "opening the file computes"),
    "sixty million doubles from nothing": (
        lambda: model([node("ConstantOfShape", ["s"])], [values("s", 60_000_000)]),
        "opening the file computes",
    ),
    "training": (_training, "training graphs"),
    "graphs twenty deep": (_deep, "deep"),
    "an input that nothing gives": (_undeclared, "nobody"),
    "strings": (_untyped_string, "expected numbers"),
    "a name of ten thousand letters": (_long_strings, "not an ONNX model"),
    "a kernel of a billion": (
        lambda: model([node("MaxPool", ["x"], kernel_shape=[1 << 30], pads=[1 << 30, 1 << 30])]),
        "attribute",
    ),
}


def _imports() -> ModelProto:
    made = model([node("Relu", ["x"])])
    made.opset_import.append(helper.make_opsetid("com.evil", 1))
    return made


def written(made: ModelProto, path: Path) -> Path:
    path.write_bytes(made.SerializeToString())
    return path
