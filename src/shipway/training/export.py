"""A trained model as a folder that serving takes: saved_model/, model.onnx, encoder.json. Imports TensorFlow."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf
import tf_keras

from shipway.artifacts import FeatureSpec, FileRef, ModelManifest
from shipway.artifacts.model import ONNX, SAVED_MODEL
from shipway.recipes import KerasRecipe, load_recipe
from shipway.recipes.arrays import stack_padded
from shipway.recipes.base import Finished, FinishesModel, tolerance_of
from shipway.recipes.own_fit import Arrays
from shipway.scoring.runtimes import open_saved_model
from shipway.storage import open_folder, write_artifact
from shipway.tasks import Task, task_of
from shipway.tasks.base import TARGET_PADDING
from shipway.training import data as td
from shipway.training import shards as sh
from shipway.training.loop import Fitted
from shipway.training.measure import input_names
from shipway.training.publishing import ENCODER, PARITY_ROWS, Made, Signature, manifest_of, parity_of, run_onnx
from shipway.training.speed import measure_speed
from shipway.training.unpacking import DTYPES
from shipway.training.weights import hash_arrays

OPSET = 17
CALIBRATION_ROWS = 20_000


@dataclass(frozen=True)
class Serving(Signature):
    """What is served: encoded tensors to the task's.

    Attributes:
        module: Holds the function and its variables.
    """

    module: Any


def publish(fitted: Fitted, work: Path, output_uri: str, job: str, image: str) -> ModelManifest:
    """Writes the model's folder to `<output_uri>/model/`, manifest last.

    Returns:
        The manifest; the SavedModel is served where ONNX does not give its numbers.
    """
    folder = work / "model"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(fitted.spec.recipe)
    task, tolerance = task_of(recipe), tolerance_of(recipe)
    finished = _finished(fitted)
    serving = _serving(fitted, finished.model, task, work)
    document = finished.encoder.to_document()
    (folder / ENCODER).write_text(json.dumps(document, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    rows = _real_rows(fitted, serving.inputs, work)
    saved, reference = _saved_model(serving, rows, folder / "saved_model", tolerance)
    onnx = _onnx(fitted, task, serving, rows, reference, folder / "model.onnx", tolerance)
    target = f"{output_uri}/model"
    files: list[FileRef] = open_folder(output_uri).upload_folder(folder, "model")
    weights, made = hash_arrays(fitted.weights), [*onnx, saved]
    told = {"facts": dict(finished.facts), "headline": list(finished.headline)}
    manifest = manifest_of(fitted, task, serving, target, files, weights, made, job, image).model_copy(update=told)
    write_artifact(manifest, target)
    return manifest


def _finished(fitted: Fitted) -> Finished:
    """The model, of plain variables that no strategy mirrors, as its recipe finishes it."""
    tf_keras.mixed_precision.set_global_policy("float32")
    recipe, params = cast(KerasRecipe, load_recipe(fitted.spec.recipe)), fitted.spec.recipe_params()
    model = recipe.build_model(params, fitted.encoder)
    model.set_weights(fitted.weights)
    if isinstance(recipe, FinishesModel):
        return recipe.finish_model(model, params, fitted.encoder)
    return Finished(model, fitted.encoder)


def _serving(fitted: Fitted, model: Any, task: Task, work: Path) -> Serving:
    """The served function."""
    features = {name: fitted.dataset.features[name] for name in input_names(model)}
    return serving_of(model, task, features, task.head.calibrate(*_eval_outputs(fitted, task, model, features, work)))


def serving_of(model: Any, task: Task, features: dict[str, FeatureSpec], constants: dict[str, float]) -> Serving:
    """What a model serves, traced.

    The module holds the function and the variables that it reads, not the Keras model: Keras would trace every layer's
    call once more, which takes ten times as long as the rest of the export of an LSTM, and nobody loads a model by its
    layers.
    """
    names = list(features)
    specs = [tf.TensorSpec([None, *spec.shape], DTYPES[spec.dtype], name=name) for name, spec in features.items()]

    def serve(*tensors: Any) -> dict[str, Any]:
        served = task.head.serve(model(dict(zip(names, tensors, strict=True)), training=False), constants)
        return {name: served[name] for name in sorted(served)}  # the order in which tf2onnx names them

    module = tf.Module()
    module.serve = tf.function(serve, input_signature=specs)
    traced = module.serve.get_concrete_function()
    module.weights = list(traced.variables)
    outputs = {name: _described(value) for name, value in traced.structured_outputs.items()}
    return Serving(features, outputs, constants, module)


def save(serving: Serving, folder: Path) -> None:
    """Writes the SavedModel."""
    tf.saved_model.save(serving.module, str(folder), signatures={"serving_default": serving.module.serve})
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # holds a random number: bytes would differ


def _described(tensor: Any) -> FeatureSpec:
    dtype = "bytes" if tensor.dtype == tf.string else tensor.dtype.name
    return FeatureSpec(dtype=dtype, shape=tensor.shape.as_list()[1:])


def _eval_outputs(
    fitted: Fitted, task: Task, model: Any, features: dict[str, FeatureSpec], work: Path
) -> tuple[Any, Arrays]:
    """What the model gives for the eval split's first rows, and their targets."""
    parser = td.Parser.of(fitted.dataset, fitted.encoder, features, task.labels.targets(fitted.encoder))
    shards = sh.split_shards(fitted.dataset, "eval")
    outputs: list[Any] = []
    targets: list[dict[str, Any]] = []
    rows = 0
    for batch in parser.read(sh.fetch_shards(fitted.dataset, shards, work / fitted.dataset.fingerprint)):
        tensors, wanted = parser.dense(batch)
        outputs.append(tf.nest.map_structure(np.asarray, model(tensors, training=False)))
        targets.append({name: np.asarray(value) for name, value in wanted.items()})
        rows += td.rows_in(batch)
        if rows >= CALIBRATION_ROWS:
            break
    padding = {name: TARGET_PADDING[spec.dtype] for name, spec in parser.targets.items()}
    return (
        tf.nest.map_structure(lambda *batches: stack_padded(batches), *outputs),
        {name: stack_padded([batch[name] for batch in targets], value) for name, value in padding.items()},
    )


def _saved_model(serving: Serving, rows: Arrays, folder: Path, tolerance: float) -> tuple[Made, Arrays]:
    """Writes the SavedModel, which the others are compared with; and what it gives for the rows."""
    save(serving, folder)
    opened: list[Any] = []

    def open_it() -> Any:
        opened.append(open_saved_model(folder))  # kept: the signature's variables live as long as the object
        signature = opened[0].signatures["serving_default"]
        return lambda some: signature(**{name: tf.constant(value) for name, value in some.items()})

    speed = measure_speed(open_it, rows)
    expected = opened[0].signatures["serving_default"](**{name: tf.constant(value) for name, value in rows.items()})
    return Made(SAVED_MODEL, folder.name, None, speed, tolerance), {
        name: np.asarray(expected[name]) for name in serving.outputs
    }


def _onnx(
    fitted: Fitted, task: Task, serving: Serving, rows: Arrays, reference: Arrays, path: Path, tolerance: float
) -> list[Made]:
    """Converts, and compares ONNX Runtime with the SavedModel on real rows; a conversion that fails is said so."""
    outputs = list(serving.outputs)
    try:
        path.write_bytes(_converted(serving.module.serve))
        given = run_onnx(path, outputs)(rows)
        speed = measure_speed(lambda: run_onnx(path, outputs, threads=1), rows, threads=1)
    except Exception as error:  # noqa: BLE001 - any failure of a converter only means that the SavedModel is served
        print(f"shipway: no ONNX: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        path.unlink(missing_ok=True)
        return []
    parity = parity_of(task.answers, fitted.encoder, rows, reference, given, tolerance)
    if not parity.passed:
        print(
            "shipway: the SavedModel is served, which takes TensorFlow: "
            f"on {parity.rows} rows ONNX is up to {parity.max_abs_diff:.3g} away, allowed are {tolerance:g}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    return [Made(ONNX, path.name, parity, speed, tolerance)]


def _converted(serve: Any) -> bytes:
    """The function as ONNX. What a model took from outside of it, such as a `tf.constant` of `build_model`, is written
    into it: tf2onnx makes an input of that, which nobody would give.
    """
    import onnx
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=OPSET)
    outside = {
        inner.name: value for value, inner in serve.get_concrete_function().graph.captures if value.dtype != tf.resource
    }
    for asked in [each for each in model.graph.input if each.name in outside]:
        model.graph.input.remove(asked)
        model.graph.initializer.append(onnx.numpy_helper.from_array(outside[asked.name].numpy(), asked.name))
    written: bytes = model.SerializeToString()
    return written


def _real_rows(fitted: Fitted, features: dict[str, FeatureSpec], work: Path) -> Arrays:
    """Encoded rows of the eval split, as a predictor would send them."""
    parser = td.Parser.of(fitted.dataset, fitted.encoder, features, {})
    shards = sh.split_shards(fitted.dataset, "eval")[:1]
    paths = sh.fetch_shards(fitted.dataset, shards, work / fitted.dataset.fingerprint)
    batch = next(iter(parser.read(paths)))
    tensors, _ = parser.dense({name: value[:PARITY_ROWS] for name, value in batch.items()})
    return {name: np.asarray(value) for name, value in tensors.items()}
