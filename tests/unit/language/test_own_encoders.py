"""An ONNX file and a tokenizer of a person's own: published by hash, opened through the door that every model has."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.errors import CorruptArtifact, InvalidSpec, NotFound, UserError
from shipway.language import open_encoder, publish
from shipway.language.padded import BUDGET
from shipway.scoring.runtimes import open_onnx

onnx = pytest.importorskip("onnx", reason="the extra `language` is not installed")
pytest.importorskip("tokenizers", reason="the extra `language` is not installed")
pytest.importorskip("sentencepiece", reason="the extra `language` is not installed")

WORDS = ["[UNK]", "[CLS]", "turn", "on", "off", "the", "light"]
WIDTH = 4
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), WIDTH)).astype(np.float32)


def write_model(path: Path, *, inputs: str = "input_ids attention_mask", extra: Any = (), pools: bool = False) -> Path:
    """A table of vectors: (texts, tokens) -> (texts, tokens, 4); `pools` sums them over the mask."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]), *extra]
    output, shape = "last_hidden_state", ["b", "t", WIDTH]
    if pools:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "two"], ["weights"]),
            helper.make_node("Mul", ["last_hidden_state", "weights"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "one"], ["sentence"], keepdims=0),
        ]
        output, shape = "sentence", ["b", WIDTH]
    constants = [numpy_helper.from_array(VECTORS, "table"), numpy_helper.from_array(np.array([2]), "two"),
                 numpy_helper.from_array(np.array([1]), "one")]  # fmt: skip
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in inputs.split()]
    made = helper.make_graph(nodes, "own", given, [helper.make_tensor_value_info(output, 1, shape)], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def write_tokenizer(path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer.enable_padding(length=32)  # what a file says of padding is not what a batch needs
    tokenizer.save(str(path))
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Publishes an encoder to a folder as a store; gives its reference."""
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json")

    def give(model: Path | None = None, tokenizer: Path = tokenizer, **settings: Any) -> str:
        return publish(
            model or write_model(tmp_path / "model.onnx"), tokenizer, f"file://{tmp_path}/store",
            **{"name": "mine", "width": WIDTH, "languages": ["en"], "is_normalized": False, **settings},
        )  # fmt: skip

    return give


def expected(text: str) -> Any:
    """The mean of its words' vectors, with the mark before them."""
    ids = [1, *(WORDS.index(word) if word in WORDS else 0 for word in text.split())]
    return VECTORS[ids].mean(axis=0)


TEXTS = ["turn on the light", "", "light", "turn off", "turn " * 50, "nobody knows", "on"]


def test_tokens_are_averaged_over_the_text_whatever_stands_beside_it(own: Callable[..., str]) -> None:
    encoder = open_encoder(own())
    assert (encoder.name, encoder.width, encoder.languages) == ("mine", WIDTH, ("en",))
    np.testing.assert_allclose(encoder.encode(TEXTS), np.stack([expected(text) for text in TEXTS]), atol=1e-6)
    for text in TEXTS:
        np.testing.assert_allclose(encoder.encode([text])[0], expected(text), atol=1e-6)


def test_many_texts_come_back_in_their_order(own: Callable[..., str]) -> None:
    texts = [" ".join(["light"] * (place % 37)) + " on" * (place % 5) for place in range(BUDGET // 8)]
    np.testing.assert_allclose(open_encoder(own()).encode(texts), np.stack([*map(expected, texts)]), atol=1e-6)


def test_a_text_that_a_batch_holds_twice_is_encoded_once(
    own: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = open_encoder(own())
    asked: list[str] = []
    tokenize = encoder._tokenize  # type: ignore[attr-defined]
    monkeypatch.setattr(encoder, "_tokenize", lambda texts: asked.extend(texts) or tokenize(texts))
    texts = [*TEXTS, *reversed(TEXTS), "on"]
    np.testing.assert_allclose(encoder.encode(texts), np.stack([*map(expected, texts)]), atol=1e-6)
    assert asked == TEXTS
    assert encoder.encode([]).shape == (0, WIDTH)


def test_the_first_token_or_the_models_own_output_may_be_the_vector(own: Callable[..., str], tmp_path: Path) -> None:
    first = open_encoder(own(pooling="first", is_normalized=True)).encode(TEXTS)
    np.testing.assert_allclose(first, np.tile(VECTORS[1] / np.linalg.norm(VECTORS[1]), (len(TEXTS), 1)), atol=1e-6)
    pooled = open_encoder(own(write_model(tmp_path / "pools.onnx", pools=True), pooling="model")).encode(TEXTS)
    lengths = np.array([[len(text.split()) + 1] for text in TEXTS])
    np.testing.assert_allclose(pooled / lengths, np.stack([*map(expected, TEXTS)]), atol=1e-6)


def test_a_model_that_knows_no_padding_is_given_none(own: Callable[..., str], tmp_path: Path) -> None:
    encoder = open_encoder(own(write_model(tmp_path / "bare.onnx", inputs="input_ids")))
    np.testing.assert_allclose(encoder.encode(TEXTS), np.stack([*map(expected, TEXTS)]), atol=1e-6)


def test_what_lies_behind_the_last_token_is_not_read(own: Callable[..., str]) -> None:
    encoder = open_encoder(own(max_tokens=4))
    np.testing.assert_allclose(encoder.encode(["turn on the light off off"])[0], expected("turn on the"), atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(["turn on the " * 3000]), encoder.encode(["turn on the"]))


def test_a_sentencepiece_model_is_a_tokenizer_too(own: Callable[..., str], tmp_path: Path) -> None:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["on off the on off the"] * 20), model_prefix=str(tmp_path / "pieces"), vocab_size=7,
        hard_vocab_limit=False, model_type="word", minloglevel=2, bos_id=1, eos_id=2, unk_id=0,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "pieces.model"))
    encoder = open_encoder(own(tokenizer=tmp_path / "pieces.model", before=[1], after=[2], max_tokens=5))
    texts = ["on off the", "", "on on on on on", "nobody"]
    rows = [[1, *(pieces.encode(text) or [0])[:3], 2] for text in texts]
    np.testing.assert_allclose(encoder.encode(texts), np.stack([VECTORS[ids].mean(axis=0) for ids in rows]), atol=1e-6)


def test_a_text_without_a_token_has_a_vector_of_zeros(own: Callable[..., str], tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    bare = Tokenizer.from_file(str(write_tokenizer(tmp_path / "marks.json")))
    bare.post_processor = None
    bare.save(str(tmp_path / "bare.json"))
    encoder = open_encoder(own(tokenizer=tmp_path / "bare.json", is_normalized=True))
    assert not encoder.encode(["", "on"])[0].any()


def test_its_digest_is_of_what_decides_its_vectors_and_not_of_its_name(own: Callable[..., str]) -> None:
    references = [own(), own(name="other", languages=[]), own(max_tokens=9), own(pooling="first")]
    assert len(set(references)) == 4  # each is another document
    changes: list[dict[str, Any]] = [{}, {"name": "other", "languages": []}, {"max_tokens": 9}, {"pooling": "first"}]
    digests = [open_encoder(own(**settings)).digest for settings in changes]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_an_encoder_that_is_here_is_not_asked_for_again(own: Callable[..., str], tmp_path: Path) -> None:
    reference = own()
    open_encoder(reference)
    shutil.rmtree(tmp_path / "store")
    assert open_encoder(reference, threads=2).width == WIDTH


def folder_of(reference: str) -> Path:
    return Path(reference.removeprefix("file://").partition("#")[0]).parent


def test_one_that_is_gone_or_another_by_now_is_refused_in_one_line(own: Callable[..., str], tmp_path: Path) -> None:
    reference, other = own(), own(name="other")
    (folder_of(reference) / "encoder.onnx").unlink()
    with pytest.raises(
        NotFound, match=r"the encoder file://.* is gone, or one of its files is: .*; put it there again"
    ):
        open_encoder(reference)
    shutil.copy(folder_of(other) / "encoder.json", folder_of(reference))
    with pytest.raises(InvalidSpec, match=r"sentence_encoder: file://.*/encoder.json has sha256 .* asked for: another"):
        open_encoder(reference)
    with pytest.raises(NotFound, match="is gone"):
        open_encoder(f"file://{tmp_path}/nothing/encoder.json#sha256={'0' * 64}")
    assert list((tmp_path / "home/cache/encoders").iterdir()) == []


def test_a_file_that_was_replaced_is_neither_opened_nor_kept(own: Callable[..., str], tmp_path: Path) -> None:
    reference = own()
    (folder_of(reference) / "encoder.onnx").write_bytes(b"other")
    with pytest.raises(CorruptArtifact, match=r"encoder\.onnx"):
        open_encoder(reference)
    assert list((tmp_path / "home/cache/encoders").iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_another_is_at_stays(own: Callable[..., str], tmp_path: Path) -> None:
    kept = tmp_path / "home/cache/encoders"
    for name in (".1-left", ".2-at-work"):
        (kept / name).mkdir(parents=True)
        (kept / name / "encoder.onnx").touch()
    os.utime(kept / ".1-left", (0, 0))
    open_encoder(own())
    assert sorted(path.name for path in kept.glob(".*")) == [".2-at-work"]


def test_a_tokenizers_library_that_is_absent_says_what_to_install(
    own: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = own(name="nobody opened this one before")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        UserError, match=r"need tokenizers, which is not installed here; pip install 'shipway\[language\]'"
    ):
        open_encoder(reference)


def test_publishing_again_changes_nothing_that_is_there(own: Callable[..., str]) -> None:
    reference = own()
    before = {path.name: path.read_bytes() for path in folder_of(reference).iterdir()}
    written = (folder_of(reference) / "encoder.onnx").stat().st_mtime_ns
    assert own() == reference
    assert own(max_tokens=9) != reference
    assert {path.name: path.read_bytes() for path in folder_of(reference).iterdir()} == before
    assert (folder_of(reference) / "encoder.onnx").stat().st_mtime_ns == written, "large files are not sent again"


def test_many_models_with_one_encoder_hold_it_once_wherever_it_lies(
    own: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of many models: each has a document of its own, from whichever store."""
    from shipway.language import encoder as opened
    from shipway.recipes.intents.sentences import Sentences

    sessions = []
    monkeypatch.setattr(opened, "open_onnx", lambda *given: sessions.append(given) or open_onnx(*given))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    reference = own(name="of many models")
    shutil.copytree(folder_of(reference), tmp_path / "copy")
    other = f"file://{tmp_path}/copy/encoder.json#{reference.partition('#')[2]}"
    sessions.clear()
    documents = [json.loads(json.dumps(Sentences.of(each).to_document())) for each in (reference, reference, other)]
    models = [Sentences.from_document(document) for document in documents]
    for model in models:
        np.testing.assert_allclose(model.encode(["turn on"])[0], expected("turn on"), atol=1e-6)
    assert len(sessions) == 1


def test_a_broken_encoder_is_not_published(own: Callable[..., str], tmp_path: Path) -> None:
    from onnx import helper

    foreign = helper.make_node("MatrixInverse", ["last_hidden_state"], ["x"], domain="com.evil")
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"width": 3}, CorruptArtifact, r"gives shape \(2, 2, 4\), expected \(2, 2, 3\) \(pooling 'mean', width 3\)"),
        ({"pooling": "model"}, CorruptArtifact, r"expected \(2, 4\)"),
        ({"model": write_model(tmp_path / "a.onnx", extra=[foreign])}, CorruptArtifact, "MatrixInverse.*not among"),
        ({"model": write_model(tmp_path / "b.onnx", inputs="input_ids pixels")}, CorruptArtifact, "its input 'pixels'"),
        ({"model": tmp_path / "absent.onnx"}, NotFound, "model: no such file"),
        ({"tokenizer": write_model(tmp_path / "c.json")}, CorruptArtifact, "not a tokenizer that can be read"),
        ({"tokenizer": write_model(tmp_path / "d.txt")}, InvalidSpec, "ends neither with .json nor with .model"),
        ({"output": "pooler"}, CorruptArtifact, "it cannot be asked: .*pooler"),
        ({"poling": "mean"}, InvalidSpec, r"poling: unknown setting.*did you mean 'pooling'"),
        ({"pooling": "max"}, InvalidSpec, "encoder.pooling"),
        ({"max_tokens": 2, "before": [1], "after": [2]}, InvalidSpec, "leaves no room"),
    ]  # fmt: skip
    for settings, kind, told in cases:
        with pytest.raises(kind, match=told) as caught:
            own(**settings)
        assert "\n" not in str(caught.value), settings
    assert not (tmp_path / "store").exists()
