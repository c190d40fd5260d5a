"""The one door to the runtimes: nothing else opens a model (tests/contracts/test_one_door.py).

A model is a program. What it may do is checked from its bytes before a runtime sees them, whoever wrote it: evaluation,
the gate, the predictor and the export of a model that was trained a moment ago all come through here.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from shipway import machine
from shipway.errors import CorruptArtifact, UserError
from shipway.scoring.onnx_models import check_onnx
from shipway.scoring.saved_models import check_saved_model

_bounding = threading.Lock()
_is_bounded = False


def open_onnx(path: Path, threads: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession` on the processor.

    Args:
        path: Of the file.
        threads: Threads of one inference; None lets the runtime choose.

    Raises:
        CorruptArtifact: `check_onnx` refuses it, or ONNX Runtime does.
    """
    check_onnx(path)
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise UserError("is not installed here", field="onnxruntime", fix="pip install 'shipway[serve]'") from error
    options = ort.SessionOptions()
    options.log_severity_level = 3
    _bound_memory(ort)
    options.add_session_config_entry("session.use_env_allocators", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CorruptArtifact(f"{path}: ONNX Runtime cannot load it: {error}") from error


def _bound_memory(ort: Any) -> None:
    """What all sessions of this process compute in; weights lie beside it. More fails that one inference."""
    global _is_bounded
    with _bounding:
        if not _is_bounded:
            place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
            ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": inference_bytes()}))
            _is_bounded = True


def inference_bytes() -> int:
    """Half of the memory that this machine or this container has."""
    return machine.memory_limit() // 2


def open_saved_model(folder: Path) -> Any:
    """A SavedModel as TensorFlow loads it.

    Raises:
        CorruptArtifact: `check_saved_model` refuses it, or TensorFlow does.
    """
    check_saved_model(folder)
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(
            "is not installed here, and this model is served by its SavedModel (its training's log says why)",
            field="tensorflow",
            fix="pip install 'shipway[train]'",
        ) from error
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:
        raise CorruptArtifact(f"{folder}: TensorFlow cannot load it: {error}") from error
