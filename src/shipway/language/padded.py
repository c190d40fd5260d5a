"""Texts as a transformer that was exported to ONNX reads them: batches of tokens that are padded to one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.errors import CorruptArtifact
from shipway.language.description import EncoderDescription

BUDGET = 4096  # tokens of a batch, padding counted
_KINDS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_IDS, _MASK, _SEGMENTS = "input_ids", "attention_mask", "token_type_ids"


def check_inputs(session: Any, where: str) -> None:
    """Refuses a model that asks for what no tokenizer gives.

    Raises:
        CorruptArtifact: names the input.
    """
    kinds = {each.name: each.type for each in session.get_inputs()}
    for name, kind in kinds.items():
        if name not in (_IDS, _MASK, _SEGMENTS) or kind not in _KINDS:
            raise CorruptArtifact(
                f"{where}: its input {name!r} ({kind}) is none that an encoder has; expected {_IDS} and, as wanted, "
                f"{_MASK} and {_SEGMENTS}, each int64 or int32"
            )
    if _IDS not in kinds:
        raise CorruptArtifact(f"{where}: it has no input {_IDS}")


def run_padded(session: Any, rows: Sequence[list[int]], description: EncoderDescription) -> NDArray[np.float32]:
    """Vectors of the texts whose tokens `rows` are, float32 (n, width); zeros of a text without tokens.

    Raises:
        CorruptArtifact: the model gives another shape than its description says.
    """
    kinds = {each.name: _KINDS[each.type] for each in session.get_inputs()}
    vectors = np.zeros((len(rows), description.width), np.float32)
    for batch in _batches(rows, can_pad=_MASK in kinds):
        length = len(rows[batch[-1]])
        ids = np.zeros((len(batch), length), np.int64)
        mask = np.zeros((len(batch), length), np.int64)
        for place, row in enumerate(batch):
            ids[place, : len(rows[row])] = rows[row]
            mask[place, : len(rows[row])] = 1
        all_inputs = {_IDS: ids, _MASK: mask, _SEGMENTS: np.zeros_like(ids)}
        inputs = {name: all_inputs[name].astype(kind, copy=False) for name, kind in kinds.items()}
        output = session.run([description.output] if description.output else None, inputs)[0]
        vectors[batch] = _pooled(np.asarray(output, np.float32), mask, description)
    return vectors


def _batches(rows: Sequence[list[int]], can_pad: bool) -> Iterator[list[int]]:
    """Places of rows of about one length, the shorter first; of just one where padding would be read as text."""
    batch: list[int] = []
    for place in sorted((place for place, ids in enumerate(rows) if ids), key=lambda place: len(rows[place])):
        size = len(rows[place])
        if batch and ((len(batch) + 1) * size > BUDGET or (not can_pad and size > len(rows[batch[0]]))):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _pooled(
    output: NDArray[np.float32], mask: NDArray[np.int64], description: EncoderDescription
) -> NDArray[np.float32]:
    """(texts, width) of what the model gave."""
    texts, length = mask.shape
    width = description.width
    expected = (texts, width) if description.pooling == "model" else (texts, length, width)
    if output.shape != expected:
        raise CorruptArtifact(
            f"sentence encoder {description.name}: for {texts} texts of {length} tokens it gives shape {output.shape}, "
            f"expected {expected} (pooling {description.pooling!r}, width {width}); is it another model by now?"
        )
    if description.pooling == "model":
        return output
    if description.pooling == "first":
        return output[:, 0]
    kept = mask[:, :, None].astype(np.float32)
    pooled: NDArray[np.float32] = (output * kept).sum(axis=1) / kept.sum(axis=1)
    return pooled
