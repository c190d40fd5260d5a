"""An encoder made of an ONNX file and a tokenizer: the shipped one and those of your own are this one class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shipway.errors import CorruptArtifact, InvalidData, one_line
from shipway.language.description import EncoderDescription
from shipway.language.padded import check_inputs, run_padded
from shipway.language.tokenizing import open_tokenizer
from shipway.language.windows import Windows
from shipway.scoring.runtimes import open_onnx

_PROBE = ("a", "")
_TEXTS = 1024  # that are tokenised at once: their ids are small, but not those of a million texts


class OnnxEncoder:
    """See `shipway.language.base.SentenceEncoder`.

    Args:
        folder: Holds the files, as the description names them; they were verified.
        description: Says how the two are put together.
        threads: Threads of one inference; None lets the runtime choose.

    Raises:
        CorruptArtifact: a file is not what it should be, or the model gives another width than the description says.
        UserError: ONNX Runtime or the tokenizer's library is not installed here.
    """

    def __init__(self, folder: Path, description: EncoderDescription, threads: int | None = None) -> None:
        self.name, self.digest = description.name, description.digest
        self.width, self.languages = description.width, description.languages
        self._description = description
        self._tokenize = open_tokenizer(folder / description.tokenizer.path, description)
        self._session = open_onnx(folder / description.model.path, threads)
        self._windows = Windows(self._session, self.width) if description.feeding == "windows" else None
        if self._windows is None:
            check_inputs(self._session, str(folder / description.model.path))
        self.encode(_PROBE)  # a wrong width is said now, and not by the first request

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if isinstance(texts, str):
            raise InvalidData("expected a list of texts, got one text", fix="encode([text])")
        wrong = next((place for place, text in enumerate(texts) if not isinstance(text, str)), None)
        if wrong is not None:
            raise InvalidData(f"text {wrong}: expected a text, got {type(texts[wrong]).__name__}")
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        different = list(places)
        vectors = np.empty((len(different), self.width), np.float32)
        for start in range(0, len(different), _TEXTS):
            vectors[start : start + _TEXTS] = self._encode(different[start : start + _TEXTS])
        return vectors if len(different) == len(texts) else vectors[[places[text] for text in texts]]

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        try:
            rows = self._tokenize(texts)
            if self._windows is not None:
                vectors = self._windows.encode(rows)
            else:
                vectors = run_padded(self._session, rows, self._description)
        except CorruptArtifact:
            raise
        except Exception as error:  # compiled libraries have classes of their own
            raise CorruptArtifact(f"sentence encoder {self.name}: it cannot be asked: {one_line(error)}") from error
        if not np.isfinite(vectors).all():
            raise CorruptArtifact(f"sentence encoder {self.name}: it gives numbers that are not finite")
        if self._description.is_normalized:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return vectors
