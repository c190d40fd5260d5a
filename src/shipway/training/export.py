"""A trained model as a folder that serving takes: saved_model/, model.onnx, encoder.json. Imports TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
from shipway.recipes import load_recipe
from shipway.recipes.calibrate import calibrate
from shipway.scoring.runtimes import open_onnx, open_saved_model
from shipway.storage import open_folder, write_artifact
from shipway.training import data as td
from shipway.training.loop import Fitted, input_names

OPSET = 17
OUTPUT = "probabilities"
TOLERANCE = 1e-5
PARITY_ROWS = 256
CALIBRATION_ROWS = 20_000
LIBRARIES = ("tensorflow-cpu", "tensorflow", "tf-keras", "numpy", "onnx", "onnxruntime", "tf2onnx", "horovod", "polars")


def publish(fitted: Fitted, work: Path, output_uri: str, job: str, image: str) -> ModelManifest:
    """Writes the model's folder to `<output_uri>/model/`, manifest last.

    Returns:
        The manifest; `serving_format` is "saved_model" where ONNX does not give the SavedModel's probabilities.
    """
    folder = work / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model, features, scale = _served_model(fitted, work)
    function, specs = serving_function(model, features, scale)
    save(function, folder / "saved_model")
    document = fitted.encoder.to_document()
    (folder / "encoder.json").write_text(json.dumps(document, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    parity = _onnx(fitted, function, specs, features, folder, work)
    target = f"{output_uri}/model"
    files: list[FileRef] = open_folder(output_uri).upload_folder(folder, "model")
    manifest = _manifest(fitted, target, features, files, parity, job, image)
    manifest.temperature = scale
    write_artifact(manifest, target)
    return manifest


def _served_model(fitted: Fitted, work: Path) -> tuple[Any, dict[str, FeatureSpec], float]:
    """A model of plain variables that no strategy mirrors, what it takes, and the temperature of its answers."""
    tf_keras.mixed_precision.set_global_policy("float32")
    recipe = load_recipe(fitted.spec.recipe)
    model = recipe.build_model(fitted.spec.recipe_params(), fitted.encoder)
    model.set_weights(fitted.weights)
    features = {name: fitted.dataset.features[name] for name in input_names(model)}
    return model, features, calibrate(*_eval_logits(fitted, model, features, work))


def serving_function(model: Any, features: dict[str, FeatureSpec], scale: float) -> tuple[Any, list[Any]]:
    """Encoded tensors to probabilities, as a `tf.function`, and its signature."""
    names = list(features)
    specs = [tf.TensorSpec([None, *spec.shape], td._DTYPES[spec.dtype], name=name) for name, spec in features.items()]

    def serve(*tensors: Any) -> dict[str, Any]:
        logits = model(dict(zip(names, tensors, strict=True)), training=False)
        return {OUTPUT: tf.nn.softmax(tf.cast(logits, tf.float32) / scale, name=OUTPUT)}

    return tf.function(serve, input_signature=specs), specs


def save(function: Any, folder: Path) -> None:
    """Writes a SavedModel of the function and the variables that it reads.

    The Keras model is no part of it: Keras would trace every layer's call once more, which takes ten times as long as
    the rest of the export of an LSTM, and nobody loads a model by its layers.
    """
    module = tf.Module()
    module.serve = function
    module.weights = list(function.get_concrete_function().variables)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # holds a random number: bytes would differ


def _eval_logits(
    fitted: Fitted, model: Any, features: dict[str, FeatureSpec], work: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and class ids of the eval split's first rows."""
    parser = td.Parser(features)
    shards = td.split_shards(fitted.dataset, "eval")
    logits, labels, rows = [], [], 0
    for batch in parser.read(td.fetch_shards(fitted.dataset, shards, work / fitted.dataset.fingerprint)):
        tensors, _ = parser.dense(batch)
        logits.append(np.asarray(model(tensors, training=False), dtype=np.float32))
        labels.append(np.asarray(batch[td.LABEL]).reshape(-1))
        rows += len(labels[-1])
        if rows >= CALIBRATION_ROWS:
            break
    return np.concatenate(logits), np.concatenate(labels)


def _onnx(
    fitted: Fitted, function: Any, specs: list[Any], features: dict[str, FeatureSpec], folder: Path, work: Path
) -> Parity:
    """Converts, and compares ONNX Runtime with the SavedModel on real rows; a conversion that fails is said so."""
    rows = _real_rows(fitted, features, work)
    loaded = open_saved_model(folder / "saved_model")
    expected = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in rows.items()})
    reference = np.asarray(expected[OUTPUT])
    path = folder / "model.onnx"
    try:
        import tf2onnx

        tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET, output_path=str(path))
        given = _run_onnx(path, rows)
    except Exception as error:  # noqa: BLE001 - any failure of a converter only means that the SavedModel is served
        print(f"shipway: no ONNX: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        path.unlink(missing_ok=True)
        return Parity(max_abs_diff=1.0, argmax_agreement=0.0, rows=len(reference), passed=False, tolerance=TOLERANCE)
    difference = float(np.max(np.abs(given - reference)))
    agreement = float(np.mean(given.argmax(-1) == reference.argmax(-1)))
    passed = bool(np.isfinite(given).all()) and difference <= TOLERANCE
    return Parity(
        max_abs_diff=difference if np.isfinite(difference) else 1.0,
        argmax_agreement=agreement,
        rows=len(reference),
        passed=passed,
        tolerance=TOLERANCE,
    )


def _run_onnx(path: Path, rows: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    session = open_onnx(path)
    names = {entry.name.removesuffix(":0"): entry.name for entry in session.get_inputs()}
    output = next(entry.name for entry in session.get_outputs() if entry.name.removesuffix(":0") == OUTPUT)
    result: NDArray[np.float32] = session.run([output], {names[name]: rows[name] for name in names})[0]
    return result


def _real_rows(fitted: Fitted, features: dict[str, FeatureSpec], work: Path) -> dict[str, NDArray[Any]]:
    """Encoded rows of the eval split, as a predictor would send them."""
    parser = td.Parser(features)
    shards = td.split_shards(fitted.dataset, "eval")[:1]
    paths = td.fetch_shards(fitted.dataset, shards, work / fitted.dataset.fingerprint)
    batch = next(iter(parser.read(paths)))
    count = min(PARITY_ROWS, int(batch[td.LABEL].shape[0]))
    tensors, _ = parser.dense({name: value[:count] for name, value in batch.items()})
    return {name: np.asarray(value) for name, value in tensors.items()}


def _manifest(
    fitted: Fitted,
    uri: str,
    features: dict[str, FeatureSpec],
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
        params=spec.recipe_params().model_dump(mode="json"),
        labels=list(fitted.encoder.labels),
        inputs=features,
        output=OUTPUT,
        files=files,
        serving_format="onnx" if parity.passed else "saved_model",
        onnx_parity=parity,
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
