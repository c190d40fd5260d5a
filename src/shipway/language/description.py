"""The document beside an encoder's files: what they are, by hash, and how they are put together."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from shipway.artifacts.base import Artifact, FileRef
from shipway.canonical import canonical_json, sha256_hex

FILE = "encoder.json"
SENTENCEPIECE, TOKENIZERS = ".model", ".json"
# What a person calls the encoder decides no vector, nor does how a file is called.
_DECIDES = {"feeding", "pooling", "width", "max_tokens", "before", "after", "splits_unknown", "is_normalized", "output"}


class EncoderDescription(Artifact):
    """An ONNX file and its tokenizer, and what joins them.

    Attributes:
        name: What a person calls it.
        languages: BCP 47 tags of what it was trained on; empty where unknown.
        width: Numbers of a vector.
        model: The ONNX file.
        tokenizer: `.json`, of Hugging Face's `tokenizers`, or `.model`, of SentencePiece.
        feeding: `padded`: `input_ids` and, where the model takes them, `attention_mask` and `token_type_ids`, each
            (texts, tokens). `windows`: as `use-multilingual-3` is exported (`shipway.language.windows`).
        pooling: What makes one vector of a text's tokens: the `mean` of those that are no padding, the `first`, or the
            `model` itself, whose output has two dimensions.
        output: Name of the output that is taken; empty: the first.
        max_tokens: Tokens of a text that are read, with those of `before` and `after`; 0: all.
        before: Ids put before a text's tokens (SentencePiece alone; the other kind says so itself).
        after: Ids put behind them.
        splits_unknown: SentencePiece makes one token of a run of characters that it does not know; here each is one.
        is_normalized: Each vector is brought to length 1.
    """

    KIND: ClassVar[str] = "SentenceEncoder"

    name: Annotated[str, Field(min_length=1, max_length=100)]
    languages: tuple[str, ...] = ()
    width: Annotated[int, Field(ge=1, le=65536)]
    model: FileRef
    tokenizer: FileRef
    feeding: Literal["padded", "windows"] = "padded"
    pooling: Literal["mean", "first", "model"] = "mean"
    output: str = ""
    max_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 512
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    splits_unknown: bool = False
    is_normalized: bool = True

    @model_validator(mode="after")
    def _check_tokenizer(self) -> EncoderDescription:
        if not self.tokenizer.path.endswith((SENTENCEPIECE, TOKENIZERS)):
            raise ValueError(f"tokenizer {self.tokenizer.path!r} ends neither with .json nor with .model")
        if 0 < self.max_tokens <= len(self.before) + len(self.after):
            raise ValueError("max_tokens leaves no room for a text between before and after")
        return self

    @property
    def files(self) -> tuple[FileRef, FileRef]:
        return self.model, self.tokenizer

    @property
    def digest(self) -> str:
        """sha256 over all that decides the vectors, 64 hexadecimal digits."""
        decides = self.model_dump(mode="json", include=_DECIDES)
        return sha256_hex(canonical_json({**decides, "files": [file.sha256 for file in self.files]}))
