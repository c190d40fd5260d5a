"""What a recipe's own fit is published as: the ONNX that it exports, held against its own predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shipway.artifacts import FeatureSpec, FileRef, ModelManifest
from shipway.artifacts.model import ONNX
from shipway.errors import CorruptArtifact, InvalidSpec, UserError
from shipway.recipes import Encoder
from shipway.recipes.base import OwnRecipe, tolerance_of
from shipway.recipes.own_fit import Arrays
from shipway.scoring.runtimes import open_onnx
from shipway.storage import open_folder, write_artifact
from shipway.tasks import Task
from shipway.training.own_fit import fitting_array, packages_needed, parts_of, predicted, rows_like, served_by
from shipway.training.publishing import ENCODER, PARITY_ROWS, Made, Signature, Trained, manifest_of, parity_of, run_onnx
from shipway.training.speed import measure_speed
from shipway.training.weights import hash_onnx

MODEL = "model.onnx"
_DTYPES = {"tensor(int64)": "int64", "tensor(float)": "float32", "tensor(uint8)": "uint8"}


def publish(trained: Trained, model: Any, work: Path, output_uri: str, job: str, image: str) -> ModelManifest:
    """Writes the model's folder to `<output_uri>/model/`, manifest last: model.onnx and encoder.json.

    Raises:
        UserError: the export is no ONNX that may be served, lacks what the task serves, or gives other numbers than
            the recipe's own predictions.
    """
    recipe, task = parts_of(trained.spec)
    folder = work / "model"
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(trained.encoder.to_document(), sort_keys=True, ensure_ascii=False)
    (folder / ENCODER).write_text(document, encoding="utf-8")
    path = folder / MODEL
    with packages_needed(recipe):
        content = recipe.export(model, trained.spec.recipe_params(), trained.encoder)
        if not isinstance(content, bytes) or not content:
            kind = "nothing" if content == b"" else f"a {type(content).__name__}"
            raise InvalidSpec(f"export gives {kind}, expected the bytes of an ONNX file", field=f"recipe {recipe.name}")
        path.write_bytes(content)
        rows = rows_like(trained, work, PARITY_ROWS)
        signature, given = _opened(path, recipe, task, trained.encoder, rows)
        reference = predicted(recipe, task, trained.encoder, model, rows)
    taken = {name: rows[name] for name in signature.inputs}
    tolerance = tolerance_of(recipe)
    parity = parity_of(task.answers, trained.encoder, taken, reference, given, tolerance)
    if not parity.passed:
        raise UserError(
            f"on {parity.rows} rows of the eval split its ONNX gives numbers up to "
            f"{parity.max_abs_diff:.3g} away from its own predictions, allowed are {parity.tolerance:g}; "
            "mend export or predict (float32 on both sides, the same outputs)",
            field=f"recipe {recipe.name}",
        )
    speed = measure_speed(lambda: run_onnx(path, list(signature.outputs), threads=1), taken, threads=1)
    target = f"{output_uri}/model"
    files: list[FileRef] = open_folder(output_uri).upload_folder(folder, "model")
    made = [Made(ONNX, MODEL, parity, speed, tolerance)]
    manifest = manifest_of(trained, task, signature, target, files, hash_onnx(path), made, job, image)
    write_artifact(manifest, target)
    return manifest


def _opened(path: Path, recipe: OwnRecipe, task: Task, encoder: Encoder, rows: Arrays) -> tuple[Signature, Arrays]:
    """Signature of an exported file, and what it gives for rows."""
    where = f"recipe {recipe.name}: export"
    try:
        session = open_onnx(path)
    except CorruptArtifact as error:
        raise InvalidSpec(error, field=where) from error
    inputs = {}
    for entry in session.get_inputs():
        feature = encoder.features.get(entry.name)
        if feature is None or _DTYPES.get(entry.type) != feature.dtype:
            known = ", ".join(f"{name} ({spec.dtype})" for name, spec in encoder.features.items())
            raise InvalidSpec(
                f"the ONNX takes {entry.name!r}, {entry.type}",
                field=where,
                given=entry.name,
                allowed=f"features of the encoder: {known}",
            )
        inputs[entry.name] = feature
    known_outputs = {entry.name: entry for entry in session.get_outputs()}
    shapes = served_by(task, encoder)
    taken = {name: rows[name] for name in inputs}
    count = len(next(iter(rows.values())))
    if missing := [name for name in shapes if name not in known_outputs]:
        raise InvalidSpec(
            (f"the ONNX gives {', '.join(sorted(known_outputs))}; the task {task.name} needs {missing[0]!r}"),
            field=where,
            given=missing[0],
        )
    try:
        values = session.run(list(shapes), taken)
        session.run(list(shapes), {name: value[:1] for name, value in taken.items()})  # as a predictor may ask
    except Exception as error:  # one class for each of its codes, without a base of their own
        raise InvalidSpec(f"ONNX Runtime: {' '.join(str(error).split())[-300:]}", field=where) from error
    given, outputs = {}, {}
    for (name, shape), value in zip(shapes.items(), values, strict=True):
        given[name] = fitting_array(value, name, [count, *shape], f"{where}: the ONNX", sorted(shapes))
        varies = [each is None for each in shape] + [False] * value.ndim
        stated = [None if is_open else int(size) for is_open, size in zip(varies, value.shape[1:], strict=False)]
        outputs[name] = FeatureSpec(dtype=value.dtype.name, shape=stated)
    return Signature(inputs, outputs, {}), given
