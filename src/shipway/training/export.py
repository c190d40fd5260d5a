"""A trained model as a folder that serving takes: saved_model/, model.onnx, encoder.json. Imports TensorFlow."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from shipway import images
from shipway.artifacts import FeatureSpec, FileRef, ModelManifest, Parity
from shipway.recipes import Encoder, load_recipe
from shipway.recipes.arrays import stack_padded
from shipway.scoring.runtimes import open_onnx, open_saved_model
from shipway.storage import open_folder, write_artifact
from shipway.tasks import Task, task_of
from shipway.tasks.base import TARGET_PADDING, Answers
from shipway.training import data as td
from shipway.training.loop import Fitted
from shipway.training.measure import input_names
from shipway.training.unpacking import DTYPES

OPSET = 17
TOLERANCE = 1e-5
PARITY_ROWS = 256
CALIBRATION_ROWS = 20_000
LIBRARIES = ("tensorflow-cpu", "tensorflow", "tf-keras", "numpy", "onnx", "onnxruntime", "tf2onnx", "horovod", "polars")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Serving:
    """What is served: encoded tensors to the task's.

    Attributes:
        module: Holds the function and its variables.
        inputs, outputs: Its signature; a None beyond the batch's dimension is the length of the batch's rows.
        constants: That the task's head baked into it.
    """

    module: Any
    inputs: dict[str, FeatureSpec]
    outputs: dict[str, FeatureSpec]
    constants: dict[str, float]


def publish(fitted: Fitted, work: Path, output_uri: str, job: str, image: str) -> ModelManifest:
    """Writes the model's folder to `<output_uri>/model/`, manifest last.

    Returns:
        The manifest; `serving_format` is "saved_model" where ONNX does not give the SavedModel's numbers.
    """
    folder = work / "model"
    folder.mkdir(parents=True, exist_ok=True)
    task = task_of(load_recipe(fitted.spec.recipe))
    serving = _serving(fitted, task, work)
    save(serving, folder / "saved_model")
    document = fitted.encoder.to_document()
    (folder / "encoder.json").write_text(json.dumps(document, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    parity = _onnx(fitted, task, serving, folder, work)
    target = f"{output_uri}/model"
    files: list[FileRef] = open_folder(output_uri).upload_folder(folder, "model")
    manifest = _manifest(fitted, task, serving, target, files, parity, job, image)
    write_artifact(manifest, target)
    return manifest


def _serving(fitted: Fitted, task: Task, work: Path) -> Serving:
    """The served function on a model of plain variables that no strategy mirrors."""
    tf_keras.mixed_precision.set_global_policy("float32")
    recipe = load_recipe(fitted.spec.recipe)
    model = recipe.build_model(fitted.spec.recipe_params(), fitted.encoder)
    model.set_weights(fitted.weights)
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
    return Serving(module, features, outputs, constants)


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
    shards = td.split_shards(fitted.dataset, "eval")
    outputs: list[Any] = []
    targets: list[dict[str, Any]] = []
    rows = 0
    for batch in parser.read(td.fetch_shards(fitted.dataset, shards, work / fitted.dataset.fingerprint)):
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


def _onnx(fitted: Fitted, task: Task, serving: Serving, folder: Path, work: Path) -> Parity:
    """Converts, and compares ONNX Runtime with the SavedModel on real rows; a conversion that fails is said so."""
    rows = _real_rows(fitted, serving.inputs, work)
    loaded = open_saved_model(folder / "saved_model")
    expected = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in rows.items()})
    reference = {name: np.asarray(expected[name]) for name in serving.outputs}
    count = len(next(iter(rows.values())))
    path = folder / "model.onnx"
    try:
        import tf2onnx

        serve = serving.module.serve
        tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=OPSET, output_path=str(path))
        given = _run_onnx(path, rows, list(serving.outputs))
    except Exception as error:  # noqa: BLE001 - any failure of a converter only means that the SavedModel is served
        print(f"shipway: no ONNX: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        path.unlink(missing_ok=True)
        return Parity(max_abs_diff=1.0, agreement=0.0, rows=count, passed=False, tolerance=TOLERANCE)
    difference = max(_difference(given[name], reference[name]) for name in reference)
    is_finite = bool(np.isfinite(difference))
    return Parity(
        max_abs_diff=difference if is_finite else 1.0,
        agreement=_agreement(task.answers, fitted.encoder, rows, reference, given) if is_finite else 0.0,
        rows=count,
        passed=is_finite and difference <= TOLERANCE,
        tolerance=TOLERANCE,
    )


def _difference(given: NDArray[Any], reference: NDArray[Any]) -> float:
    """The largest difference of two numbers, relative where they are above 1; infinite for what is no number."""
    if given.shape != reference.shape:
        return math.inf
    if reference.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(given, reference) else math.inf
    one, other = given.astype(np.float64), reference.astype(np.float64)
    gap = np.abs(one - other) / np.maximum(np.abs(other), 1.0)
    return float(np.max(np.where(np.isfinite(gap), gap, np.inf), initial=0.0))


def _agreement(answers: Answers, encoder: Encoder, rows: Arrays, reference: Arrays, given: Arrays) -> float:
    """Share of rows whose answer a caller reads as the same."""
    everything, settings = answers.everything(), answers.Settings()
    columns = answers.decode(encoder, given, rows)
    served = answers.documents(encoder.labels, columns, everything, settings)
    expected = answers.decode(encoder, reference, rows)
    return float(answers.differences(encoder.labels, expected, served, TOLERANCE)[1].mean())


def _run_onnx(path: Path, rows: Arrays, outputs: list[str]) -> Arrays:
    session = open_onnx(path)
    named = {entry.name.removesuffix(":0"): entry.name for entry in [*session.get_inputs(), *session.get_outputs()]}
    given = session.run([named[name] for name in outputs], {named[name]: value for name, value in rows.items()})
    return dict(zip(outputs, given, strict=True))


def _real_rows(fitted: Fitted, features: dict[str, FeatureSpec], work: Path) -> Arrays:
    """Encoded rows of the eval split, as a predictor would send them."""
    parser = td.Parser.of(fitted.dataset, fitted.encoder, features, {})
    shards = td.split_shards(fitted.dataset, "eval")[:1]
    paths = td.fetch_shards(fitted.dataset, shards, work / fitted.dataset.fingerprint)
    batch = next(iter(parser.read(paths)))
    tensors, _ = parser.dense({name: value[:PARITY_ROWS] for name, value in batch.items()})
    return {name: np.asarray(value) for name, value in tensors.items()}


def _manifest(
    fitted: Fitted,
    task: Task,
    serving: Serving,
    uri: str,
    files: list[FileRef],
    parity: Parity,
    job: str,
    image: str,
) -> ModelManifest:
    spec, state = fitted.spec, fitted.state
    return ModelManifest(
        name=spec.name or fitted.dataset.name,
        uri=uri,
        recipe=spec.recipe,
        task=task.name,
        params=spec.recipe_params().model_dump(mode="json"),
        input_params=fitted.dataset.input_params,
        labels=list(fitted.encoder.labels),
        inputs=serving.inputs,
        outputs=serving.outputs,
        files=files,
        serving_format="onnx" if parity.passed else "saved_model",
        onnx_parity=parity,
        constants=serving.constants,
        tolerance=TOLERANCE,
        dataset_uri=fitted.dataset.uri,
        dataset_fingerprint=fitted.dataset.fingerprint,
        job=job,
        strategy=spec.strategy,
        workers=fitted.distribution.size,
        steps=state.step,
        epochs=round(fitted.epochs, 4),
        metrics={**state.best_metrics, "best_step": float(state.best_step)},
        parameter_count=fitted.parameter_count,
        seed=spec.seed,
        versions=library_versions(),
        git_commit=git_commit(),
        image=image,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        shipway_version=images.VERSION,
    )


def library_versions() -> dict[str, str]:
    """Versions of what trained the model; those that are not installed are left out."""
    found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the running code: SHIPWAY_GIT_COMMIT where an image was built with it, else of its checkout."""
    baked = os.environ.get("SHIPWAY_GIT_COMMIT")
    if baked:
        return baked
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
