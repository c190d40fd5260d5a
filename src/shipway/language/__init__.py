"""Sentence encoders: frozen models that give a text a vector, near to those of texts that mean the same.

    encoder = open_encoder("use-multilingual-3")       shipped, of the extra `language`
    encoder = open_encoder("s3://bucket/encoders/3f2a.../encoder.json#sha256=3f2a...")   one of yours
    encoder.encode(["turn on the light", "mach das Licht an"])           float32 (2, 512)

Whoever needs vectors goes through `open_encoder`: prep, evaluation and predictor thereby use the same code, and a
process that holds many models holds each encoder once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipway.lazy import names_of

if TYPE_CHECKING:
    from shipway.language.base import EncoderIdentity, SentenceEncoder, as_stored, check_languages
    from shipway.language.opening import open_encoder
    from shipway.language.reference import check_reference
    from shipway.language.storing import publish

__all__ = [
    "EncoderIdentity", "SentenceEncoder", "as_stored", "check_languages", "check_reference", "open_encoder", "publish",
]  # fmt: skip
__getattr__ = names_of(__name__, {
    "EncoderIdentity": "base", "SentenceEncoder": "base", "as_stored": "base", "check_languages": "base",
    "check_reference": "reference", "open_encoder": "opening", "publish": "storing",
})  # fmt: skip
