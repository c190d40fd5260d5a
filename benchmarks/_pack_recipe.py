"""Images whose records hold the files as they are: the least that a recipe can do with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from shipway.artifacts import FeatureSpec
from shipway.recipes import Encoded, Encoder

REFERENCE = "benchmarks._pack_recipe:recipe"


class Nothing(BaseModel):
    """No parameters."""


class FileEncoder:
    """One feature, the file."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.features = {"file": FeatureSpec(dtype="bytes", shape=[])}

    def encode(self, files: Sequence[bytes]) -> Encoded:
        column = np.empty(len(files), dtype=object)
        column[:] = files
        return {"file": column}

    def to_document(self) -> dict[str, Any]:
        return {"labels": self.labels}


class FileRecipe:
    name = REFERENCE
    task = "classification"
    input = "image"
    EncoderParams: type[BaseModel] = Nothing
    Params: type[BaseModel] = Nothing

    def fit_encoder(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> Encoder:
        return FileEncoder(sorted({label for frame in rows for label in frame["label"].unique()}))

    def load_encoder(self, document: dict[str, Any]) -> Encoder:
        return FileEncoder(document["labels"])

    def build_model(self, params: BaseModel, encoder: Encoder) -> Any:
        raise NotImplementedError

    def compile_model(
        self, model: Any, params: BaseModel, optimizer_wrapper: Any = None, total_steps: Any = None
    ) -> None:
        raise NotImplementedError


recipe = FileRecipe()
