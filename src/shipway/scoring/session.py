"""`ModelSession`: the input's values in, the task's predictions out, by ONNX Runtime or by the SavedModel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec, ModelManifest
from shipway.artifacts.model import ONNX, SAVED_MODEL
from shipway.errors import CorruptArtifact, ShipwayError
from shipway.inputs import Input, bind_input, input_of
from shipway.recipes import Columns, Encoder, Recipe, check_recipe_allowed, dense, load_stored_recipe
from shipway.recipes.arrays import concatenate, take
from shipway.scoring.folder import fetch_model, needed_files, verify_files
from shipway.scoring.runtimes import open_onnx, open_saved_model
from shipway.tasks import Task, task_of
from shipway.tasks.base import LocatesAnswers
from shipway.tasks.model_answers import ModelAnswers

MAX_ENCODER_BYTES = 256 << 20  # the shipped recipe's largest vocabulary has 20 MB

Outputs = dict[str, NDArray[Any]]
Run = Callable[[Mapping[str, NDArray[Any]]], Outputs]  # encoded, padded batch -> served tensors


class ModelSession:
    """A loaded model. Safe to share between threads.

    Attributes:
        manifest: What was loaded.
        encoder: The recipe's encoder as fitted on the training split.
        labels: Class names; empty where the task has none.
        task, kind: The recipe's task and input.
        answers: The task's, with this model's classes.
    """

    def __init__(self, manifest: ModelManifest, recipe: Recipe, encoder: Encoder, run: Run) -> None:
        self.manifest = manifest
        self.encoder = encoder
        self.labels = list(manifest.labels)
        self.task: Task = task_of(recipe)
        self.kind: Input = bind_input(
            input_of(recipe), manifest.input_params, f"model {manifest.name} ({manifest.uri}): input_params"
        )
        self.answers = ModelAnswers(self.task.answers, self.labels)
        self._run = run

    @classmethod
    def open(
        cls,
        manifest: ModelManifest,
        folder: Path | None = None,
        *,
        cache: Path | None = None,
        threads: int | None = None,
        recipes: Sequence[str] = (),
    ) -> Self:
        """Loads the variant of a model that is served: its files are verified by sha256 first, and then checked
        (`shipway.scoring.runtimes`).

        Args:
            manifest: The model.
            folder: Its files on this machine; None fetches them from `manifest.uri` into `cache`.
            cache: See `fetch_model`.
            threads: Threads of one inference; None lets the runtime choose.
            recipes: That the manifest may name, beside the shipped ones and SHIPWAY_RECIPES.

        Raises:
            CorruptArtifact: a file is missing or differs, encoder and manifest disagree, or the model could do more
                than compute.
            InvalidSpec: the recipe is not allowed here, or cannot be loaded.
        """
        where = f"model {manifest.name} ({manifest.uri})"
        check_recipe_allowed(manifest.recipe, where, recipes, manifest.code)
        if folder is None:
            folder = fetch_model(manifest, cache)
        else:
            verify_files(folder, needed_files(manifest))
        recipe = load_stored_recipe(manifest.recipe, where, recipes, manifest.code)
        task = task_of(recipe).name
        if task != manifest.task:
            raise CorruptArtifact(f"{where}: its task is {manifest.task!r}, its recipe's {task!r}; train with --fresh")
        encoder = load_encoder(recipe, manifest, folder)
        open_variant: dict[str, Callable[[ModelManifest, Path], Run]] = {
            ONNX: partial(_open_onnx, threads=threads),
            SAVED_MODEL: _open_saved_model,
        }
        if (form := manifest.served.format) not in open_variant:
            raise CorruptArtifact(
                f"{where}: variant {manifest.serving} has the format {form!r}; this Shipway runs "
                f"{', '.join(open_variant)}: upgrade shipway, or serve another variant"
            )
        return cls(manifest, recipe, encoder, open_variant[form](manifest, folder))

    def warm_up(self) -> list[Any]:
        """Values of real sizes, the small ones first."""
        return self.kind.warm_up(self.labels)

    def encode(self, values: Sequence[Any]) -> dict[str, NDArray[Any]]:
        """The model's inputs for one batch: every feature padded, in the dtype that the signature states."""
        encoded = dense(self.encoder.encode(values))
        return {name: np.asarray(encoded[name], dtype=_dtype(spec)) for name, spec in self.manifest.inputs.items()}

    def infer(self, values: Sequence[Any]) -> Columns:
        """Predictions of one batch, as the task decodes them.

        Raises:
            ShipwayError: the model gives NaN or infinity.
        """
        inputs = self.encode(values)
        outputs = self._run(inputs)
        for name, value in outputs.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ShipwayError(
                    f"model {self.manifest.name} ({self.manifest.digest}) gives {name} that are not numbers"
                )
        answers = self.task.answers
        columns = answers.decode(self.encoder, outputs, inputs)
        return answers.locate(self.encoder, columns, values) if isinstance(answers, LocatesAnswers) else columns

    def predict(self, values: Sequence[Any], *, batch_size: int = 256) -> Columns:
        """Predictions in the order given.

        Values go through the model in order of size, so that a batch holds little padding.
        """
        order = np.argsort(self.kind.sizes(values), kind="stable")
        batches = (order[start : start + batch_size] for start in range(0, max(len(order), 1), batch_size))
        parts = [self.infer([values[row] for row in rows]) for rows in batches]
        return take(concatenate(parts), np.argsort(order, kind="stable"))


def load_encoder(recipe: Recipe, manifest: ModelManifest, folder: Path) -> Encoder:
    """The encoder of a model's folder.

    Raises:
        CorruptArtifact: not readable, or its labels are not the manifest's.
    """
    path = folder / manifest.encoder.path
    try:
        if path.stat().st_size > MAX_ENCODER_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes, allowed are {MAX_ENCODER_BYTES}")
        encoder = recipe.load_encoder(json.loads(path.read_text(encoding="utf-8")))
    except Exception as error:  # a document of any shape, read by code of anyone
        raise CorruptArtifact(f"model {manifest.name}: encoder.json cannot be read: {str(error)[:300]!r}") from error
    if list(encoder.labels) != list(manifest.labels):
        raise CorruptArtifact(
            f"model {manifest.name}: the encoder's labels are not the manifest's; train again with --fresh"
        )
    return encoder


def _dtype(spec: FeatureSpec) -> Any:
    return np.dtype(object) if spec.dtype == "bytes" else np.dtype(spec.dtype)


def _open_onnx(manifest: ModelManifest, folder: Path, threads: int | None) -> Run:
    session = open_onnx(folder / manifest.served.path, threads)
    given = {entry.name for entry in session.get_inputs()}
    names = {name: _match(name, given, manifest) for name in manifest.inputs}
    there = {entry.name for entry in session.get_outputs()}
    wanted = [_match(name, there, manifest) for name in manifest.outputs]

    def run(inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        try:
            given = session.run(wanted, {names[name]: value for name, value in inputs.items()})
        except Exception as error:  # one class for each of its codes, without a base of their own
            told = " ".join(str(error).split())
            raise ShipwayError(f"model {manifest.name} ({manifest.digest}): ONNX Runtime: {told[-300:]}") from error
        return dict(zip(manifest.outputs, given, strict=True))

    return run


def _match(name: str, given: set[str], manifest: ModelManifest) -> str:
    """A graph's own name of a tensor: converters append `:0`."""
    for candidate in (name, f"{name}:0"):
        if candidate in given:
            return candidate
    there = ", ".join(sorted(given))
    raise CorruptArtifact(
        f"model {manifest.name}: {manifest.served.path} has no tensor {name!r} as its manifest says, only {there}"
    )


def _open_saved_model(manifest: ModelManifest, folder: Path) -> Run:
    loaded = open_saved_model(folder / manifest.served.path)
    import tensorflow as tf

    try:
        signature = loaded.signatures["serving_default"]
    except (AttributeError, KeyError) as error:
        raise CorruptArtifact(f"model {manifest.name}: its SavedModel has no signature serving_default") from error

    def run(inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        given = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: given[name].numpy() for name in manifest.outputs}

    run.keep = loaded  # type: ignore[attr-defined]  # the signature's variables live only as long as the object
    return run
