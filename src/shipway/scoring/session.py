"""`ModelSession`: texts in, probabilities out, by ONNX Runtime or by the SavedModel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec, ModelManifest
from shipway.errors import CorruptArtifact, ShipwayError
from shipway.recipes import Encoder, check_recipe_allowed, dense, load_stored_recipe
from shipway.scoring.folder import ONNX, SAVED_MODEL, fetch_model, needed_files, verify_files
from shipway.scoring.runtimes import open_onnx, open_saved_model

MAX_ENCODER_BYTES = 256 << 20  # the shipped recipe's largest vocabulary has 20 MB

Run = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]  # encoded, padded batch -> probabilities


class ModelSession:
    """A loaded model. Safe to share between threads.

    Attributes:
        manifest: What was loaded.
        encoder: The recipe's encoder as fitted on the training split.
        labels: Class names; the position is the column of `predict`'s result.
    """

    def __init__(self, manifest: ModelManifest, encoder: Encoder, run: Run) -> None:
        self.manifest = manifest
        self.encoder = encoder
        self.labels = list(manifest.labels)
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
        """Loads a model whose files are verified by sha256 first and then checked (`shipway.scoring.runtimes`).

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
        check_recipe_allowed(manifest.recipe, f"model {manifest.name} ({manifest.uri})", recipes)
        if folder is None:
            folder = fetch_model(manifest, cache)
        else:
            verify_files(folder, needed_files(manifest))
        encoder = load_encoder(manifest, folder, recipes)
        if manifest.serving_format == "saved_model":
            return cls(manifest, encoder, _open_saved_model(manifest, folder))
        return cls(manifest, encoder, _open_onnx(manifest, folder, threads))

    def encode(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The model's inputs for one batch: every feature padded, in the dtype that the signature states."""
        encoded = dense(self.encoder.encode(texts))
        return {name: np.asarray(encoded[name], dtype=_dtype(spec)) for name, spec in self.manifest.inputs.items()}

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities of one encoded batch, float32 (n, classes).

        Raises:
            ShipwayError: the model gives NaN or infinity.
        """
        probabilities = np.asarray(self._run(inputs), dtype=np.float32)
        if not np.isfinite(probabilities).all():
            raise ShipwayError(
                f"model {self.manifest.name} ({self.manifest.digest}) gives probabilities that are not numbers"
            )
        return probabilities

    def predict(self, texts: Sequence[str], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Probabilities by text, float32 (n, classes), in the order given.

        Texts go through the model in order of length, so that a batch holds little padding.
        """
        result = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        order = np.argsort(np.fromiter((len(text) for text in texts), np.int64, len(texts)), kind="stable")
        for start in range(0, len(texts), batch_size):
            rows = order[start : start + batch_size]
            result[rows] = self.infer(self.encode([texts[row] for row in rows]))
        return result


def load_encoder(manifest: ModelManifest, folder: Path, recipes: Sequence[str] = ()) -> Encoder:
    """The encoder of a model's folder.

    Raises:
        CorruptArtifact: not readable, or its labels are not the manifest's.
        InvalidSpec: the recipe is not allowed here.
    """
    recipe = load_stored_recipe(manifest.recipe, f"model {manifest.name} ({manifest.uri})", recipes)
    path = folder / "encoder.json"
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
    session = open_onnx(folder / ONNX, threads)
    given = {entry.name for entry in session.get_inputs()}
    names = {name: _match(name, given, manifest) for name in manifest.inputs}
    output = _match(manifest.output, {entry.name for entry in session.get_outputs()}, manifest)

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        try:
            result: NDArray[Any] = session.run([output], {names[name]: value for name, value in inputs.items()})[0]
        except Exception as error:  # one class for each of its codes, without a base of their own
            told = " ".join(str(error).split())
            raise ShipwayError(f"model {manifest.name} ({manifest.digest}): ONNX Runtime: {told[-300:]}") from error
        return result

    return run


def _match(name: str, given: set[str], manifest: ModelManifest) -> str:
    """A graph's own name of a tensor: converters append `:0`."""
    for candidate in (name, f"{name}:0"):
        if candidate in given:
            return candidate
    raise CorruptArtifact(
        f"model {manifest.name}: {ONNX} has no tensor {name!r} as its manifest says, only {', '.join(sorted(given))}"
    )


def _open_saved_model(manifest: ModelManifest, folder: Path) -> Run:
    loaded = open_saved_model(folder / SAVED_MODEL.rstrip("/"))
    import tensorflow as tf

    try:
        signature = loaded.signatures["serving_default"]
    except (AttributeError, KeyError) as error:
        raise CorruptArtifact(f"model {manifest.name}: its SavedModel has no signature serving_default") from error

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        result: NDArray[Any] = signature(**tensors)[manifest.output].numpy()
        return result

    run.keep = loaded  # type: ignore[attr-defined]  # the signature's variables live only as long as the object
    return run
