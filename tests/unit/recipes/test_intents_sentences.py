"""The intents encoder with a sentence encoder's vectors beside its n-grams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidSpec, UserError
from shipway.language import EncoderIdentity
from shipway.recipes import load_recipe
from shipway.recipes.base import KnowsPlace, TellsFacts
from shipway.recipes.intents import limits, sentences
from shipway.recipes.intents.encode import IntentsEncoder
from shipway.recipes.intents.params import EncoderParams
from shipway.specs import parse
from shipway.storage import Store

TEXTS = ["turn on the light", "mach das Licht an", "", "\U0001f600 \u00e9t\u00e9", "x" * 10_000]


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IntentsEncoder:
    monkeypatch.setenv("SHIPWAY_STORE", (tmp_path / "store").as_uri())
    frame = pl.DataFrame({"text": TEXTS, "label": ["on", "on", "none", "none", "none"]})
    params = EncoderParams(buckets=256, sentence_encoder="use-multilingual-3")
    fitted = load_recipe("intents").fit_encoder([frame], params)
    assert isinstance(fitted, IntentsEncoder)
    return fitted


def test_vectors_are_packed_in_half_precision_and_what_serves_asks_the_same_encoder(encoder: IntentsEncoder) -> None:
    assert {name: (spec.dtype, spec.shape) for name, spec in encoder.features.items()} == {
        "grams": ("int64", [None]), "words": ("int64", [None]), "sentence": ("float32", [512]),
    }  # fmt: skip
    encoded, packed = encoder.encode(TEXTS), encoder.pack(TEXTS)
    assert [len(row) for row in packed["sentence"]] == [1024] * len(TEXTS)
    unpacked = encoder.unpack(packed, ("grams", "sentence"))
    assert set(unpacked) == {"grams", "sentence"}
    np.testing.assert_allclose(unpacked["sentence"], encoded["sentence"], atol=1e-3)
    again = load_recipe("intents").load_encoder(json.loads(json.dumps(encoder.to_document())))
    assert isinstance(again, IntentsEncoder)
    assert again.sentences == encoder.sentences
    assert again.sentences is not None
    assert "/encoders/" in again.sentences.reference, "whoever serves needs no package"
    np.testing.assert_array_equal(again.encode(TEXTS)["sentence"], encoded["sentence"])
    unit = encoded["sentence"] / np.linalg.norm(encoded["sentence"], axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.7, "the same in another language"


def test_without_one_nothing_is_said_of_it() -> None:
    frame = pl.DataFrame({"text": TEXTS[:2], "label": ["on", "off"]})
    document = load_recipe("intents").fit_encoder([frame], EncoderParams(buckets=256)).to_document()
    assert "sentence" not in json.dumps(document)


def test_auto_is_what_is_installed_where_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("intents")
    assert isinstance(recipe, KnowsPlace)
    open_choice = EncoderParams(sentence_encoder="auto")
    params, told = recipe.settle(open_choice)
    assert (params, told[:36]) == (open_choice, "sentence encoder: use-multilingual-3")
    for name in ("none", "use-multilingual-3"):
        assert recipe.settle(EncoderParams(sentence_encoder=name)) == (EncoderParams(sentence_encoder=name), "")
    monkeypatch.setattr("shipway.language.opening.find_spec", lambda name: None if name == "sentencepiece" else name)
    params, told = recipe.settle(open_choice)
    assert params == EncoderParams(sentence_encoder="none")
    assert told == "no sentence encoder: sentencepiece is not installed here (pip install 'shipway[language]')"
    recipe.check_place(open_choice)


def test_auto_leaves_it_out_of_what_it_could_not_be_judged_on(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"text": TEXTS[:2], "label": ["on", "off"]})
    monkeypatch.setattr(limits, "MAX_WORK", 0)
    left_out = load_recipe("intents").fit_encoder([frame], EncoderParams(buckets=256, sentence_encoder="auto"))
    assert isinstance(left_out, TellsFacts)
    told = "none: 2 rows x 2 classes are above 0; ask for use-multilingual-3 by name"
    assert left_out.facts == {"sentence encoder": told}
    without = load_recipe("intents").fit_encoder([frame], EncoderParams(buckets=256))
    assert left_out.to_document() == without.to_document(), "bit for bit what it is without"


def test_a_document_that_names_none_has_none() -> None:
    frame = pl.DataFrame({"text": TEXTS[:2], "label": ["on", "off"]})
    document = load_recipe("intents").fit_encoder([frame], EncoderParams(buckets=256)).to_document()
    loaded = load_recipe("intents").load_encoder(document)
    assert isinstance(loaded, IntentsEncoder)
    assert loaded.params.sentence_encoder == "none"
    assert loaded.to_document() == document


def test_an_encoder_that_is_another_by_now_is_refused(encoder: IntentsEncoder) -> None:
    document = encoder.to_document()
    document["sentences"]["digest"] = "0" * 64
    with pytest.raises(InvalidSpec, match=r"encoder\.sentence_encoder: the model was trained with use-multilingual-3"):
        load_recipe("intents").load_encoder(document).encode(TEXTS)


def test_prep_reads_no_row_where_the_encoder_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipway.language.opening.find_spec", lambda name: name if name == "onnxruntime" else None)
    (tmp_path / "rows.csv").write_text("no column of the spec is here\n")
    reference = f"s3://bucket/encoder.json#sha256={'0' * 64}"
    spec = DatasetSpec(name="bot", data=str(tmp_path / "rows.csv"), encoder={"sentence_encoder": reference})
    with pytest.raises(UserError, match=r"^dataset\.encoder\.sentence_encoder: .* need sentencepiece or tokenizers"):
        make_dataset(spec, Store.open((tmp_path / "store").as_uri()))


@pytest.mark.parametrize("name", ["use-multilingual-4", "s3://bucket/encoder.json"])
def test_a_name_that_is_none_is_refused_before_anything_starts(name: str) -> None:
    with pytest.raises(InvalidSpec, match=r"encoder\.sentence_encoder"):
        parse(EncoderParams, {"sentence_encoder": name}, "encoder")


def test_numbers_that_shards_cannot_hold_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Large:
        name, digest, width, languages = "large", "0" * 64, 2, ()

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.full((len(texts), 2), 1e5, np.float32)

    monkeypatch.setattr(sentences, "_open", lambda _reference: Large())
    with pytest.raises(InvalidSpec, match=r"large gives numbers beyond 65,504, .*; publish it with is_normalized=True"):
        sentences.Sentences("s3://b/e", EncoderIdentity("large", "0" * 64, 2)).pack(["a"])
