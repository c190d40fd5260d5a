"""The `entities` recipe's surface: light to import, TensorFlow only where a model is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.recipes.base import Encoder
from shipway.recipes.entities.encode import EntitiesEncoder, fit
from shipway.recipes.entities.params import EncoderParams, Params
from shipway.specs import parse

if TYPE_CHECKING:
    import polars as pl


class EntitiesRecipe:
    """Implements `shipway.recipes.Recipe`; its encoder is a `shipway.tasks.spans.tags.SpanEncoder`."""

    name = "entities"
    task = "spans"
    input = "text"
    EncoderParams: type[BaseModel] = EncoderParams
    Params: type[BaseModel] = Params
    search: Mapping[str, Any] = {
        "learning_rate": "loguniform(0.003, 0.02)",
        "dropout": "uniform(0.2, 0.6)",
        "word_dropout": "uniform(0.0, 0.4)",
    }

    def fit_encoder(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> EntitiesEncoder:
        """Fits on the training split."""
        return fit(rows, parse(EncoderParams, params.model_dump(), "encoder"))

    def load_encoder(self, document: dict[str, Any]) -> EntitiesEncoder:
        """The encoder that `to_document` described."""
        return EntitiesEncoder.from_document(document)

    def build_model(self, params: BaseModel, encoder: Encoder) -> Any:
        """An uncompiled tf_keras Model: `words` and `characters` -> a dict of `logits` and `tags`."""
        from shipway.recipes.entities.model import build

        assert isinstance(encoder, EntitiesEncoder)
        return build(parse(Params, params.model_dump(), "params"), encoder)

    def compile_model(
        self, model: Any, params: BaseModel, optimizer_wrapper: Any = None, total_steps: int | None = None
    ) -> None:
        """The tags' likelihood, Adam that touches only the embeddings of a batch."""
        from shipway.recipes.entities.model import compile_model

        compile_model(model, parse(Params, params.model_dump(), "params"), optimizer_wrapper, total_steps)
