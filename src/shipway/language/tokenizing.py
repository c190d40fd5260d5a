"""Texts to ids of tokens, in a compiled library: SentencePiece, or Hugging Face's `tokenizers`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shipway.errors import CorruptArtifact, UserError, one_line
from shipway.language.description import SENTENCEPIECE, EncoderDescription

EXTRA = "pip install 'shipway[language]'"
Tokenize = Callable[[Sequence[str]], list[list[int]]]
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair: no text, but Python holds it


def open_tokenizer(path: Path, description: EncoderDescription) -> Tokenize:
    """The encoder's tokenizer: texts -> ids of their tokens, cut to `max_tokens`.

    Raises:
        CorruptArtifact: the library cannot read the file.
        UserError: the library is not installed here.
    """
    is_sentencepiece = description.tokenizer.path.endswith(SENTENCEPIECE)
    try:
        opened = _sentencepiece(path, description) if is_sentencepiece else _tokenizers(path, description.max_tokens)
    except ImportError as error:
        raise absent(error.name or "a tokenizer") from error
    except Exception as error:  # whatever class the compiled library raises
        raise CorruptArtifact(f"{path}: not a tokenizer that can be read: {one_line(error)}") from error
    return lambda texts: opened([_HALF.sub("\ufffd", text) for text in texts])


def absent(package: str, where: str = "") -> UserError:
    """What is said where the extra `language` is not installed."""
    return UserError(f"sentence encoders need {package}, which is not installed here", field=where, fix=EXTRA)


def _sentencepiece(path: Path, description: EncoderDescription) -> Tokenize:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(path))
    unknown = pieces.unk_id()
    before, after = list(description.before), list(description.after)
    room = description.max_tokens - len(before) - len(after) if description.max_tokens else None

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        rows = pieces.encode(list(texts))
        if description.splits_unknown:
            rows = [_split(pieces, text, ids, unknown) for text, ids in zip(texts, rows, strict=True)]
        # A text of which nothing is left, such as an empty one, is one unknown token: a vector of no token is none.
        return [[*before, *(ids or [unknown])[:room], *after] for ids in rows]

    return tokenize


def _split(pieces: Any, text: str, ids: list[int], unknown: int) -> list[int]:
    """The ids with one for each character of a run of unknown ones, which SentencePiece makes one of."""
    if unknown not in ids:
        return ids
    names = pieces.encode(text, out_type=str)
    return [
        each
        for piece, name in zip(ids, names, strict=True)
        for each in [piece] * (len(name) if piece == unknown else 1)
    ]


def _tokenizers(path: Path, max_tokens: int) -> Tokenize:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()  # whatever the file says: batches are made by length
    tokenizer.no_truncation()
    if max_tokens:
        tokenizer.enable_truncation(max_tokens)
    return lambda texts: [each.ids for each in tokenizer.encode_batch(list(texts))]
