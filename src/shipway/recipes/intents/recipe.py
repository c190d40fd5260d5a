"""The `intents` recipe's surface: light to import, TensorFlow only where a model is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.recipes.arrays import Ragged
from shipway.recipes.base import Encoder, Finished
from shipway.recipes.intents.encode import Counts, IntentsEncoder
from shipway.recipes.intents.params import EncoderParams, Params
from shipway.recipes.intents.sentences import AUTO, FIELD, settle
from shipway.recipes.own_fit import Rows
from shipway.specs import parse

if TYPE_CHECKING:
    import polars as pl


class IntentsRecipe:
    """Implements `shipway.recipes.Recipe`."""

    name = "intents"
    task = "classification"
    input = "text"
    EncoderParams: type[BaseModel] = EncoderParams
    Params: type[BaseModel] = Params

    def settle(self, encoder_params: BaseModel) -> tuple[BaseModel, str]:
        """A sentence encoder where one is installed, unless a person said which."""
        assert isinstance(encoder_params, EncoderParams)
        reference, told = settle(encoder_params.sentence_encoder)
        return encoder_params.model_copy(update={"sentence_encoder": reference}), told

    def check_place(self, encoder_params: BaseModel) -> None:
        """A sentence encoder that a person names needs the extra `language`."""
        from shipway.language.opening import check_installed

        assert isinstance(encoder_params, EncoderParams)
        if encoder_params.sentence_encoder != AUTO:
            check_installed(encoder_params.sentence_encoder, FIELD)

    def fit_encoder(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> IntentsEncoder:
        """Fits on the training split."""
        return self.merge_counts([self.count_rows(rows, params)])

    def count_rows(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> Counts:
        """N-grams, words and labels of some of the training split."""
        counts = Counts(parse(EncoderParams, params.model_dump(), "encoder"))
        for frame in rows:
            counts.add(frame)
        return counts

    def merge_counts(self, parts: Iterable[Counts]) -> IntentsEncoder:
        """Fits on what was counted."""
        first, *others = parts
        for other in others:
            first.merge(other)
        return first.encoder()

    def load_encoder(self, document: dict[str, Any]) -> IntentsEncoder:
        """The encoder that `to_document` described."""
        return IntentsEncoder.from_document(document)

    def build_model(self, params: BaseModel, encoder: Encoder) -> Any:
        """An uncompiled tf_keras Model: `grams` and `words` -> logits, float32 (n, classes); with a sentence encoder
        `similarity` beside them."""
        from shipway.recipes.intents.model import build

        assert isinstance(encoder, IntentsEncoder)
        return build(parse(Params, params.model_dump(), "params"), encoder)

    def compile_model(
        self, model: Any, params: BaseModel, optimizer_wrapper: Any = None, total_steps: int | None = None
    ) -> None:
        """Smoothed cross-entropy, Adam that touches only the embeddings of a batch."""
        from shipway.recipes.intents.model import compile_model

        compile_model(model, parse(Params, params.model_dump(), "params"), optimizer_wrapper, total_steps)

    def solve_weights(self, model: Any, params: BaseModel, encoder: Encoder, rows: Callable[[str], Rows]) -> str:
        """Solves for the committee's linear SVM."""
        from shipway.recipes.intents.linear import Split, refusal, solve, unit

        assert isinstance(encoder, IntentsEncoder)
        why = refusal(parse(Params, params.model_dump(), "params"), encoder)
        if why:
            return f"no solved linear member: {why}"
        began = time.monotonic()
        split = {}
        for name in ("train", "eval"):
            encoded, targets = rows(name)
            grams, sentence, labels = encoded["grams"], encoded.get("sentence"), targets["label"]
            assert isinstance(grams, Ragged)
            assert not isinstance(sentence, Ragged)
            assert not isinstance(labels, Ragged)
            split[name] = Split(grams, sentence, labels)
        solution = solve(encoder, split["train"], split["eval"])
        model.get_layer("solved").take(solution)
        if solution.sentence_table is not None:
            model.get_layer("sentence_gate").take(solution)
        if solution.uses_sentences:
            train = split["train"]
            assert train.sentence is not None
            model.get_layer("similarity").take(unit(train.sentence), train.labels)
        return (
            f"linear SVM of {solution.table.shape[0]:,} n-grams x {solution.table.shape[1]:,} classes solved in "
            f"{time.monotonic() - began:.1f} s, temperature {solution.temperature:.2f}"
            f"{f'. {solution.told}' if encoder.sentences else ''}"
        )

    def finish_model(self, model: Any, params: BaseModel, encoder: Encoder) -> Finished:
        """What is served, without a sentence encoder where it was left out."""
        from shipway.recipes.intents.model import finish

        assert isinstance(encoder, IntentsEncoder)
        return finish(model, parse(Params, params.model_dump(), "params"), encoder)
