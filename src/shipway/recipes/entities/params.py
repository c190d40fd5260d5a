"""What the entities encoder and model depend on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shipway.specs import Spec

Architecture = Literal["lstm", "cnn"]


class EncoderParams(Spec):
    """What the encoder depends on; a change encodes the dataset anew."""

    vocabulary: Annotated[int, Field(ge=0, le=200_000, description="most frequent words with an id of their own")] = (
        20_000
    )
    min_count: Annotated[int, Field(ge=1, description="words seen less often in training have no id of their own")] = 2
    unknown_buckets: Annotated[int, Field(ge=1, le=10_000, description="ids shared by all other words, by hash")] = 64
    word_chars: Annotated[
        int, Field(ge=2, le=64, description="characters of a word that are read: its beginning and its end")
    ] = 12
    max_words: Annotated[
        int, Field(ge=1, le=4096, description="words of a text that are read; no span is found behind them")
    ] = 256


class Params(Spec):
    """What the model and its training depend on; what a sweep may vary."""

    architecture: Annotated[Architecture, Field(description="what reads the words in their order")] = "lstm"
    crf: Annotated[
        bool, Field(description="a conditional random field over the tags: the best path, not the best tags")
    ] = True
    word_dim: Annotated[int, Field(ge=4, le=1024, description="width of a word's embedding")] = 64
    char_dim: Annotated[int, Field(ge=4, le=256, description="width of a character's embedding")] = 24
    char_filters: Annotated[int, Field(ge=4, le=1024, description="filters over a word's characters")] = 48
    units: Annotated[int, Field(ge=4, le=1024, description="recurrent units each way, or filters of each layer")] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    word_dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of words of which training shows the characters alone")
    ] = 0.2
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-2
    decay: Annotated[
        Literal["constant", "cosine", "linear"], Field(description="how the learning rate ends: as it began, or at 0")
    ] = "linear"
