"""What every trained model is published with, whatever framework it is of: parity, versions, the manifest."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway import images
from shipway.artifacts import DatasetManifest, FeatureSpec, FileRef, ModelManifest, Parity, Speed, Variant
from shipway.recipes import Encoder
from shipway.recipes.own_fit import Arrays
from shipway.scoring.runtimes import open_onnx
from shipway.tasks import Task
from shipway.tasks.base import Answers
from shipway.training.checkpoint import LoopState
from shipway.training.spec import FitSpec

ENCODER = "encoder.json"
PARITY_ROWS = 256
LIBRARIES = ("tensorflow-cpu", "tensorflow", "tf-keras", "numpy", "onnx", "onnxruntime", "tf2onnx", "horovod", "polars")


@dataclass
class Trained:
    """What a training ends with.

    Attributes:
        state: The loop's state at the end.
        epochs: Passes over the training split, a fraction where a batch spans two.
        workers: That trained together.
        versions: Of packages that the recipe names, beside those of `LIBRARIES`.
    """

    spec: FitSpec
    dataset: DatasetManifest
    encoder: Encoder
    state: LoopState
    epochs: float
    workers: int = 1
    parameter_count: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives; a None beyond the batch's dimension is the length of the batch's rows.

    Attributes:
        constants: That the task's head baked into it.
    """

    inputs: dict[str, FeatureSpec]
    outputs: dict[str, FeatureSpec]
    constants: dict[str, float]


@dataclass(frozen=True)
class Made:
    """A variant as it lies in the model's folder: its format, which is its name too, and what was found out about it.

    Attributes:
        path: What a runtime opens, below the folder.
        tolerance: The recipe's.
    """

    format: str
    path: str
    parity: Parity | None
    speed: Speed
    tolerance: float

    def variant(self, files: list[FileRef]) -> Variant:
        """With those of the folder's files that are its own."""
        own = [file for file in files if file.path == self.path or file.path.startswith(f"{self.path}/")]
        return Variant(
            name=self.format, format=self.format, path=self.path, files=own, tolerance=self.tolerance,
            parity=self.parity, speed=self.speed,
        )  # fmt: skip


def parity_of(
    answers: Answers, encoder: Encoder, rows: Arrays, reference: Arrays, given: Arrays, tolerance: float
) -> Parity:
    """How far ONNX Runtime's outputs are from the trained model's on the same rows."""
    difference = max(_difference(given[name], reference[name]) for name in reference)
    is_finite = bool(np.isfinite(difference))
    return Parity(
        max_abs_diff=difference if is_finite else 1.0,
        agreement=_agreement(answers, encoder, rows, reference, given, tolerance) if is_finite else 0.0,
        rows=len(next(iter(rows.values()))),
        passed=is_finite and difference <= tolerance,
        tolerance=tolerance,
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


def _agreement(
    answers: Answers, encoder: Encoder, rows: Arrays, reference: Arrays, given: Arrays, tolerance: float
) -> float:
    """Share of rows whose answer a caller reads as the same."""
    everything, settings = answers.everything(), answers.Settings()
    columns = answers.decode(encoder, given, rows)
    served = answers.documents(encoder.labels, columns, everything, settings)
    expected = answers.decode(encoder, reference, rows)
    return float(answers.differences(encoder.labels, expected, served, tolerance)[1].mean())


def run_onnx(path: Path, outputs: Sequence[str], threads: int | None = None) -> Callable[[Arrays], Arrays]:
    """Opens an ONNX file; gives what runs a batch."""
    session = open_onnx(path, threads)
    named = {entry.name.removesuffix(":0"): entry.name for entry in [*session.get_inputs(), *session.get_outputs()]}
    wanted = [named[name] for name in outputs]

    def run(rows: Arrays) -> Arrays:
        given = session.run(wanted, {named[name]: value for name, value in rows.items()})
        return dict(zip(outputs, given, strict=True))

    return run


def manifest_of(
    trained: Trained,
    task: Task,
    signature: Signature,
    uri: str,
    files: list[FileRef],
    weights: str,
    made: list[Made],
    job: str,
    image: str,
) -> ModelManifest:
    """The manifest of a model's folder at `uri`; of the variants, the first that passed its parity check is served."""
    spec, state = trained.spec, trained.state
    variants = [each.variant(files) for each in made]
    return ModelManifest(
        name=spec.name or trained.dataset.name,
        uri=uri,
        recipe=spec.recipe,
        code=spec.code,
        task=task.name,
        params=spec.recipe_params().model_dump(mode="json"),
        input_params=trained.dataset.input_params,
        labels=list(trained.encoder.labels),
        inputs=signature.inputs,
        outputs=signature.outputs,
        encoder=next(file for file in files if file.path == ENCODER),
        weights=weights,
        variants=variants,
        serving=next(variant.name for variant in variants if variant.may_be_served),
        constants=signature.constants,
        dataset_uri=trained.dataset.uri,
        dataset_fingerprint=trained.dataset.fingerprint,
        job=job,
        strategy=spec.strategy,
        workers=trained.workers,
        steps=state.step,
        epochs=round(trained.epochs, 4),
        metrics={**state.best_metrics, "best_step": float(state.best_step)},
        parameter_count=trained.parameter_count,
        seed=spec.seed,
        versions={**library_versions(), **trained.versions},
        git_commit=git_commit(),
        image=image,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        shipway_version=images.VERSION,
    )


def library_versions() -> dict[str, str]:
    """Versions of what trained the model; those that are not installed are left out."""
    versions = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


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
