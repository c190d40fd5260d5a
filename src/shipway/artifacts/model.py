"""ModelManifest: a trained model's folder, file by file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shipway.artifacts.base import Artifact, FileRef, Record, Uri
from shipway.artifacts.dataset import FeatureSpec
from shipway.canonical import canonical_json, sha256_hex

# Where the files lie (each reader checks it against where it found the manifest) and which job made them when: a copy
# in the registry and a second training with equal results are the same model.
NOT_IDENTITY = ("uri", "job", "created_at")


class Parity(Record):
    """How far a variant's outputs are from the SavedModel's on the same real inputs."""

    max_abs_diff: float  # of any output's numbers; relative where they are above 1
    agreement: float  # share of rows with the same answer
    rows: int
    passed: bool
    tolerance: float


class ModelManifest(Artifact):
    """What training publishes; all paths are below `uri`: saved_model/, model.onnx, encoder.json."""

    KIND: ClassVar[str] = "ModelManifest"
    SEALED: ClassVar[bool] = True

    name: str
    uri: Uri
    recipe: str
    task: str = "classification"  # the recipe's: what its outputs mean
    code: str = ""  # ADDRESS#sha256=HASH that the recipe was in; a record: nobody installs it for standing here
    params: dict[str, object]  # the recipe's validated Params
    input_params: dict[str, object] = Field(default_factory=dict)  # the dataset's: what its input's columns are
    labels: list[str]  # classes; empty where the task has none
    inputs: dict[str, FeatureSpec]  # the serving signature's inputs
    outputs: dict[str, FeatureSpec]  # and its outputs, as the task's `Answers` take them
    files: list[FileRef]
    serving_format: str = "onnx"  # "onnx" | "saved_model": SavedModel where ONNX failed its parity check
    onnx_parity: Parity | None = None
    constants: dict[str, float] = Field(default_factory=dict)  # of the served function: found on the eval split
    tolerance: float = 1e-5  # how far served numbers may be from evaluation's
    dataset_uri: Uri
    dataset_fingerprint: str
    job: str  # name of the training job
    strategy: str
    workers: int
    steps: int  # optimiser steps taken
    epochs: float
    metrics: dict[str, float] = Field(default_factory=dict)  # on the eval split
    parameter_count: int = 0
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=dict)  # library -> version
    git_commit: str | None = None
    image: str = ""
    created_at: str = ""
    shipway_version: str = ""

    @property
    def digest(self) -> str:
        """The model's identity: sha256 over every field but `NOT_IDENTITY`, its files' hashes among them.

        What is left at its default is left out, so that a field that a later version adds changes no identity. The
        same training done twice is the same model, wherever and whenever it was done.
        """
        stated = self.model_dump(mode="json", exclude_defaults=True, exclude=set(NOT_IDENTITY))
        if self.code:
            stated["code"] = self.code.rpartition("#")[2]  # wherever it lies
        stated["files"] = sorted(stated["files"], key=lambda file: file["path"])
        return sha256_hex(canonical_json(stated))
