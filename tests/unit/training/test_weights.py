"""Hashes of what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from shipway.training.weights import hash_arrays, hash_onnx
from tests.fixtures import toy

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


def renamed(model: Any) -> None:
    """As a converter names things on another day."""
    model.graph.name, model.producer_version = "f2b7c6f0-9a52-4f9f-a04b-1a2b3c4d5e6f", "9"
    names = {"weights": "W17", "gathered": "t_9", "axes": "c_3", "logits": "t_4"}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for number, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"node_{number}", "said"
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]


def another_weight(model: Any) -> None:
    values = WEIGHTS + np.float32(1e-6)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "weights"))


def another_attribute(model: Any) -> None:
    model.graph.node[2].attribute[0].i = 0


def other_wiring(model: Any) -> None:
    model.graph.node[2].input[0] = "gathered"


def another_output(model: Any) -> None:
    model.graph.output[0].name = model.graph.node[2].output[0] = "scores"


@pytest.mark.parametrize(
    ("edit", "is_same"),
    [(renamed, True), (another_weight, False), (another_attribute, False), (other_wiring, False),
     (another_output, False)],
)  # fmt: skip
def test_an_onnx_file_is_hashed_by_what_it_computes_and_not_by_how_it_names_that(
    tmp_path: Path, edit: Callable[[Any], None], is_same: bool
) -> None:
    model = onnx.load_from_string(toy._onnx(WEIGHTS))
    (tmp_path / "before.onnx").write_bytes(model.SerializeToString())
    edit(model)
    (tmp_path / "after.onnx").write_bytes(model.SerializeToString())
    assert (tmp_path / "before.onnx").read_bytes() != (tmp_path / "after.onnx").read_bytes()
    assert (hash_onnx(tmp_path / "before.onnx") == hash_onnx(tmp_path / "after.onnx")) is is_same


def test_arrays_are_hashed_by_type_shape_content_and_order() -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, dtype=np.int64)]
    known = hash_arrays(arrays)
    assert hash_arrays([np.asfortranarray(arrays[0]), arrays[1].copy()]) == known
    others = [
        arrays[::-1], [arrays[0].reshape(3, 2), arrays[1]], [arrays[0].astype(np.float64), arrays[1]],
        [arrays[0], arrays[1].view(np.float64)], [arrays[0] + 1, arrays[1]], arrays[:1],
    ]  # fmt: skip
    assert len({known, *map(hash_arrays, others)}) == len(others) + 1
