"""How large the tensors of an ONNX graph say they are, for an input of one row of one element.

A file of a few bytes can ask for gigabytes: a constant shape, expanded; tiles of tiles; a sum of a long row and a long
column. Each tensor carries two bounds through the graph, in the order of its nodes: how many elements it has, and what
its values multiply to where they may be a shape. What depends on the request's own size counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shipway.scoring.operations import ELEMENTWISE, GROWING

MAX_ELEMENTS = 1 << 26  # of one tensor that is made larger than its inputs, and of all of them together
MAX_FOLDED = 1 << 24  # of all that is computed when the file is opened, beyond a few times what the file holds
UNKNOWN = MAX_ELEMENTS + 1  # a product of values that cannot be bounded; it may be computed with, but be no shape
_SIZE_INPUTS = {"ConstantOfShape": (0,), "Expand": (1,), "OneHot": (1,), "Pad": (1,), "Range": (0, 1, 2), "Tile": (1,)}
_AS_IT_IS = ("Cast", "CastLike", "Flatten", "Identity", "ReduceMax", "ReduceMin", "ReduceProd", "Reshape", "Slice",
             "Split", "Squeeze", "Transpose", "Unsqueeze")  # fmt: skip


class Refused(Exception):
    """Why the model is not opened."""


@dataclass(frozen=True)
class Size:
    """A tensor's bounds.

    Attributes:
        elements: How many it has, at most.
        product: Of its values' magnitudes, each at least 1; `UNKNOWN` where it cannot be told.
        shape: Of what is made of constants only, where it is known.
        is_constant: Made of constants only: a runtime computes it when it opens the model.
    """

    elements: int
    product: int
    shape: tuple[int, ...] | None = None
    is_constant: bool = False

    @classmethod
    def given(cls, elements: int = 1) -> Size:
        """Of an input: whatever the request brings, and what it must have in any request."""
        return cls(elements, UNKNOWN)

    @classmethod
    def constant(cls, shape: tuple[int, ...], values: Sequence[int] | None) -> Size:
        product = UNKNOWN if values is None else _product_of(max(abs(value), 1) for value in values)
        return cls(math.prod(shape), product, shape, True)


def sizes_of_outputs(operation: str, inputs: Sequence[Size | None], axis: int, where: str, grown: list[int]) -> Size:
    """The bounds of what an operation gives.

    Args:
        operation: Of the domain ai.onnx.
        inputs: Bounds of its inputs, None for one that is left out.
        axis: Its attribute of that name, 0 where there is none.
        where: Operation and node, for messages.
        grown: One number: elements that earlier operations of the model added beyond their inputs; added to.

    Raises:
        Refused: it gives more than `MAX_ELEMENTS`, or as many as cannot be told.
    """
    known = [size for size in inputs if size is not None]
    is_constant = bool(known) and all(size.is_constant for size in known)
    largest = max((size.elements for size in known), default=1)
    shape = None
    if operation in GROWING:
        elements = _grown(operation, inputs, where)
    elif operation == "Concat":
        elements = sum(size.elements for size in known)
    elif is_constant:
        shape, elements = _of_constants(operation, known)
    else:
        elements = _computed(operation, known, axis)
    if elements > largest:
        grown[0] += elements
        if elements > MAX_ELEMENTS or grown[0] > 4 * MAX_ELEMENTS:
            raise Refused(f"{where} makes {elements} elements of at most {largest}; allowed are {MAX_ELEMENTS}")
    return Size(elements, _product(operation, known, elements), shape, is_constant)


def _grown(operation: str, inputs: Sequence[Size | None], where: str) -> int:
    """Elements of what is made as large as an input's values say."""
    product = 1
    for position in _SIZE_INPUTS[operation]:
        size = inputs[position] if position < len(inputs) else None
        if size is None or size.product >= UNKNOWN:
            raise Refused(
                f"{where} makes a tensor of a size that cannot be told, or of more than {MAX_ELEMENTS} elements"
            )
        product *= size.product + (1 if operation in ("Pad", "Range") else 0)
    data = inputs[0].elements if operation in ("Expand", "OneHot", "Pad", "Tile") and inputs[0] else 1
    return max(product, 1) * max(data, 1)


def _computed(operation: str, known: Sequence[Size], axis: int) -> int:
    """Elements of what a request is computed into: rows of a table, products with weights, or what went in."""
    largest = max((size.elements for size in known), default=1)
    if len(known) < 2:
        return largest
    first, second = known[:2]
    if operation == "Gather" and first.shape and -len(first.shape) <= axis < len(first.shape):
        return second.elements * (first.elements // max(first.shape[axis], 1))
    if operation == "MatMul" and second.shape and len(second.shape) == 2:
        return max(first.elements // max(second.shape[0], 1), 1) * second.shape[1]
    if operation == "Conv" and second.shape and len(second.shape) > 2:  # filters, channels of each, their size
        return max(first.elements // max(second.shape[1], 1), 1) * second.shape[0]
    if operation == "Gemm" and second.shape:
        return max(first.elements, *second.shape)
    if operation in ("GRU", "LSTM", "RNN") and len(known) > 2 and known[2].shape:  # directions and hidden units
        return known[2].shape[0] * known[2].shape[-1]
    return largest


def _of_constants(operation: str, known: Sequence[Size]) -> tuple[tuple[int, ...] | None, int]:
    """Shape and elements of what a runtime computes as soon as it opens the model."""
    shapes = [size.shape for size in known if size.shape is not None]
    if len(known) == 1 and operation != "MatMul":
        return (shapes[0] if operation in ELEMENTWISE and shapes else None), known[0].elements
    if operation in ELEMENTWISE and len(shapes) == len(known):
        rank = max(len(shape) for shape in shapes)
        filled = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        broadcast = tuple(max(sizes) if min(sizes) else 0 for sizes in zip(*filled, strict=True))
        return broadcast, math.prod(broadcast)
    if operation in ("Reshape", "Slice", "Squeeze", "Unsqueeze", "Transpose", "Split", "ReduceSum"):
        return None, known[0].elements
    return None, _product_of(max(size.elements, 1) for size in known)


def _product(operation: str, known: Sequence[Size], elements: int) -> int:
    """What the values of a tensor multiply to, where it may be a shape."""
    if operation in ("Shape", "Size"):
        return _capped(max(known[0].elements, 1)) if known else 1
    if operation in _AS_IT_IS:
        return known[0].product if known else UNKNOWN
    if operation == "Concat":
        return _product_of(size.product for size in known)
    if operation == "Gather" and len(known) > 1:
        return _power(known[0].product, max(known[1].elements, 1))
    if operation in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Where"):
        values = known[1:] if operation == "Where" else known
        product = _product_of(_power(size.product, max(elements // max(size.elements, 1), 1)) for size in values)
        return _capped(product * (_power(2, elements) if operation in ("Add", "Sub") else 1))
    return UNKNOWN


def _power(base: int, exponent: int) -> int:
    """Capped before it is computed: an exponent may be millions."""
    if base <= 1:
        return base
    return UNKNOWN if exponent > 64 else _capped(base**exponent)


def _product_of(values: Iterable[int]) -> int:
    """Capped at each step: a million factors would make a number of megabytes."""
    product = 1
    for value in values:
        product = _capped(product * value)
    return product


def _capped(value: int) -> int:
    return min(value, UNKNOWN)
