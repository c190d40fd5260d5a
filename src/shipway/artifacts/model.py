"""ModelManifest: what was trained, and the variants of it that can be served, file by file."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from shipway.artifacts.base import Artifact, FileRef, Record, RelativePath, Sha256, Uri
from shipway.artifacts.dataset import FeatureSpec
from shipway.canonical import canonical_json, sha256_hex

# Where the files lie (each reader checks it against where it found the manifest), which job made them when, and what
# was made from the trained weights: a copy in the registry, a second training with equal results and a model with one
# variant more are the same model. What is served is pinned by its own digest, beside the model's.
NOT_IDENTITY = ("uri", "job", "created_at", "variants", "serving")
MEASURED = ("parity", "speed")  # of a variant: what was found out about it, not what it is
ONNX, SAVED_MODEL = "onnx", "saved_model"  # formats that this Shipway can run


class Parity(Record):
    """How far a variant's outputs are from the trained model's on the same real inputs."""

    max_abs_diff: float  # of any output's numbers; relative where they are above 1
    agreement: float  # share of rows with the same answer
    rows: int
    passed: bool
    tolerance: float


class Speed(Record):
    """How fast a variant was where it was exported, asked with encoded rows of the eval split, without HTTP."""

    load_ms: float
    p50_ms: float  # of one row
    p99_ms: float
    rows_per_s: float  # in batches of `BATCH` rows, or of all where the split has fewer
    threads: int  # of one inference; 0: as many as the runtime chose

    BATCH: ClassVar[int] = 32


class Variant(Record):
    """One form of a trained model that a runtime can open."""

    name: str
    format: str  # `ONNX`, `SAVED_MODEL`; who reads may know fewer than who wrote
    path: RelativePath  # what the runtime opens, a file or a folder below the model's
    files: list[FileRef] = Field(min_length=1)  # below the model's folder, too: `path` itself, or what lies in it
    tolerance: float = 1e-5  # how far served numbers may be from evaluation's
    parity: Parity | None = None  # None: it is what the others are compared with
    speed: Speed | None = None  # None: not measured

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if outside := [f.path for f in self.files if f.path != self.path and not f.path.startswith(f"{self.path}/")]:
            raise ValueError(f"variant {self.name}: {outside[0]} lies outside of {self.path}")
        return self

    @property
    def digest(self) -> str:
        """Sha256 over every field but `MEASURED`, its files' hashes among them."""
        stated = self.model_dump(mode="json", exclude_defaults=True, exclude=set(MEASURED))
        stated["files"] = sorted(stated["files"], key=lambda file: file["path"])
        return sha256_hex(canonical_json(stated))

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def may_be_served(self) -> bool:
        """It gives the trained model's numbers."""
        return self.parity is None or self.parity.passed


class ModelManifest(Artifact):
    """A trained model, and below `uri` its encoder and the variants made from it.

    Whoever judges, registers or deploys goes by `digest`; whoever runs it pins `served.digest` too.
    """

    KIND: ClassVar[str] = "ModelManifest"
    SEALED: ClassVar[bool] = True

    name: str
    uri: Uri
    recipe: str
    task: str = "classification"  # the recipe's: what its outputs mean
    code: str = ""  # ADDRESS#sha256=HASH of the recipe's package; a record, never installed from here
    params: dict[str, object]  # the recipe's validated Params
    input_params: dict[str, object] = Field(default_factory=dict)  # the dataset's: what its input's columns are
    labels: list[str]  # classes; empty where the task has none
    inputs: dict[str, FeatureSpec]  # the serving signature's inputs
    outputs: dict[str, FeatureSpec]  # and its outputs, as the task's `Answers` take them
    encoder: FileRef
    weights: Sha256  # of what was trained, whatever form it was written in
    variants: list[Variant]
    serving: str  # name of the variant that is scored, registered and served
    constants: dict[str, float] = Field(default_factory=dict)  # of the served function: found on the eval split
    dataset_uri: Uri
    dataset_fingerprint: str
    job: str  # name of the training job
    strategy: str
    workers: int
    steps: int  # optimiser steps taken; what a recipe's own fit reported, 0 for nothing
    epochs: float
    metrics: dict[str, float] = Field(default_factory=dict)  # on the eval split
    parameter_count: int = 0  # 0: not counted
    seed: int = 0
    facts: dict[str, str] = Field(default_factory=dict)  # how it was made, as its recipe tells people
    headline: list[str] = Field(default_factory=list)  # the same, in sentences beside its metrics
    versions: dict[str, str] = Field(default_factory=dict)  # library -> version
    git_commit: str | None = None
    image: str = ""
    created_at: str = ""
    shipway_version: str = ""

    @model_validator(mode="after")
    def _serves_what_it_has(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names) or self.serving not in names:
            raise ValueError(f"serving {self.serving!r} of the variants {', '.join(names)}; expected one, each once")
        if not self.served.may_be_served:
            raise ValueError(f"variant {self.serving} failed its parity check; expected one that passed to be served")
        return self

    @property
    def served(self) -> Variant:
        """The variant that `serving` names."""
        return next(variant for variant in self.variants if variant.name == self.serving)

    @property
    def files(self) -> list[FileRef]:
        """The encoder and the files of every variant."""
        return [self.encoder, *(file for variant in self.variants for file in variant.files)]

    @property
    def how_trained(self) -> str:
        """Strategy, workers, steps and epochs for people; without those that were not counted."""
        counts = ((f"{self.workers:,} worker{'s' if self.workers != 1 else ''}", True),
                  (f"{self.steps:,} steps", self.steps), (f"{self.epochs:g} epochs", self.epochs))  # fmt: skip
        return ", ".join([self.strategy, *(text for text, is_known in counts if is_known)])

    @property
    def digest(self) -> str:
        """The model's identity: sha256 over every field but `NOT_IDENTITY`, weights and encoder among them.

        What is left at its default is left out, so that a field that a later version adds changes no identity. The
        same training done twice is the same model, wherever and whenever it was done.
        """
        stated = self.model_dump(mode="json", exclude_defaults=True, exclude=set(NOT_IDENTITY))
        if self.code:
            stated["code"] = self.code.rpartition("#")[2]  # wherever it lies
        return sha256_hex(canonical_json(stated))
