"""The image recipes' surface: light to import, TensorFlow only where a model is built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.recipes.base import Encoder
from shipway.recipes.images.encode import ImageEncoder, fit
from shipway.recipes.images.params import EncoderParams, Params, check_size
from shipway.specs import parse
from shipway.tasks import load_task

if TYPE_CHECKING:
    import polars as pl


class ImageRecipe:
    """Implements `shipway.recipes.Recipe`, and of `shipway.recipes.base` `ChecksParams` and `StatesTolerance`: networks
    that read images, for one label each or several.

    Args:
        name: As specs have it.
        task: `classification`, one label an image, or `tagging`, any number.
    """

    input = "image"
    # Convolutions add up thousands of products, each runtime in its own order: 1.8e-5 was seen in a score, between
    # a small network's ONNX and its SavedModel on 512 drawn images of 48 pixels; every tag was the same.
    tolerance = 1e-4
    EncoderParams: type[BaseModel] = EncoderParams
    Params: type[BaseModel] = Params

    def __init__(self, name: str, task: str) -> None:
        self.name, self.task = name, task

    def check_params(self, params: BaseModel, encoder_params: BaseModel) -> None:
        """Refuses images that are smaller than the network takes."""
        assert isinstance(params, Params)
        assert isinstance(encoder_params, EncoderParams)
        check_size(params, encoder_params.size)

    def fit_encoder(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> ImageEncoder:
        """Fits on the training split."""
        return fit(rows, parse(EncoderParams, params.model_dump(), "encoder"), load_task(self.task))

    def load_encoder(self, document: dict[str, Any]) -> ImageEncoder:
        """The encoder that `to_document` described."""
        return ImageEncoder.from_document(document)

    def build_model(self, params: BaseModel, encoder: Encoder) -> Any:
        """An uncompiled tf_keras Model: `image`, uint8 (n, size, size, channels) -> logits, float32 (n, labels)."""
        from shipway.recipes.images.model import build

        assert isinstance(encoder, ImageEncoder)
        size, channels = encoder.params.size, encoder.params.channels
        return build(parse(Params, params.model_dump(), "params"), (size, size, channels), len(encoder.labels))

    def compile_model(
        self, model: Any, params: BaseModel, optimizer_wrapper: Any = None, total_steps: int | None = None
    ) -> None:
        """Adam, with cross-entropy of classes or binary cross-entropy of tags."""
        from shipway.recipes.images.model import compile_model

        compile_model(model, self.task, parse(Params, params.model_dump(), "params"), optimizer_wrapper, total_steps)
