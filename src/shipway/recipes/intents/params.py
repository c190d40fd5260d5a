"""What the intents encoder and model depend on."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from shipway.language.reference import NONE, check_reference
from shipway.recipes.intents.sentences import AUTO, FIELD
from shipway.specs import Spec

Architecture = Literal["bag", "lstm", "gru", "cnn"]


class EncoderParams(Spec):
    """What the encoder depends on; a change encodes the dataset anew."""

    buckets: Annotated[int, Field(ge=256, le=1 << 20, description="hash buckets of words, word pairs and n-grams")] = (
        1 << 18
    )
    word_ngrams: Annotated[int, Field(ge=0, le=3, description="longest run of words that is hashed")] = 2
    char_ngrams_min: Annotated[int, Field(ge=1, le=8)] = 2
    char_ngrams_max: Annotated[int, Field(ge=0, le=8, description="0 leaves character n-grams out")] = 5
    min_count: Annotated[int, Field(ge=1, description="buckets seen less often in training are dropped")] = 1
    fold_accents: Annotated[bool, Field(description="compare letters without their accents")] = False
    vocabulary: Annotated[int, Field(ge=0, le=200_000, description="most frequent words with an id of their own")] = (
        20_000
    )
    unknown_buckets: Annotated[int, Field(ge=1, le=10_000, description="ids shared by all other words")] = 64
    max_words: Annotated[int, Field(ge=1, le=4096, description="words of a text that are kept")] = 64
    sentence_encoder: Annotated[
        str,
        Field(description="auto, none, use-multilingual-3, or the address of one of yours with its hash"),
    ] = NONE

    @field_validator("sentence_encoder")
    @classmethod
    def _some_encoder(cls, value: str) -> str:
        return value if value == AUTO else check_reference(value, FIELD, beside=(AUTO,))

    @model_validator(mode="after")
    def _some_feature(self) -> Self:
        if self.char_ngrams_max and self.char_ngrams_max < self.char_ngrams_min:
            raise ValueError(
                f"char_ngrams_max {self.char_ngrams_max} is below char_ngrams_min {self.char_ngrams_min}; "
                "give a larger one, or 0 for none"
            )
        if not self.char_ngrams_max and not self.word_ngrams:
            raise ValueError("word_ngrams and char_ngrams_max are both 0: nothing is left to encode")
        return self


class Params(Spec):
    """What the model and its training depend on; what a sweep may vary."""

    architecture: Annotated[Architecture, Field(description="the part that reads words beside the wide part")] = "bag"
    dim: Annotated[int, Field(ge=4, le=1024, description="width of an n-gram's embedding")] = 64
    members: Annotated[
        int, Field(ge=1, le=8, description="models whose mean log probabilities answer; the first is linear")
    ] = 3
    svm_weight: Annotated[
        float, Field(ge=0, le=100, description="what the first member, a linear SVM, counts for; 0: a trained one")
    ] = 2.0
    hidden: Annotated[int, Field(ge=0, le=4096, description="hidden units beside the direct path; 0: none")] = 256
    word_dim: Annotated[int, Field(ge=4, le=1024, description="width of a word's embedding")] = 64
    units: Annotated[int, Field(ge=4, le=1024, description="recurrent units, or filters per width of the CNN")] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    feature_dropout: Annotated[float, Field(ge=0, lt=1, description="share of n-grams hidden in training")] = 0.2
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    decay: Annotated[
        Literal["constant", "cosine", "linear"], Field(description="how the learning rate ends: as it began, or at 0")
    ] = "constant"
    embeddings: Annotated[
        str, Field(description="s3:// or file:// URI of word vectors as text (word, then numbers); empty: learned")
    ] = ""
