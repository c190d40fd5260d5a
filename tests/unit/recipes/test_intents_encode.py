from __future__ import annotations

import itertools
import json
import pickle
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import CorruptArtifact, InvalidData, InvalidSpec
from shipway.recipes import Encoder, Ragged, Recipe, load_recipe
from shipway.recipes.base import FitsInParts, Packs
from shipway.recipes.intents import grams as gr
from shipway.recipes.intents import text as tx
from shipway.recipes.intents import vocabulary
from shipway.recipes.intents.params import EncoderParams
from shipway.specs import parse

ROWS = [
    ("Turn on the light", "on"),
    ("turn off the LIGHT, please!", "off"),
    ("Schalte das Licht in der Küche ein", "on"),
    ("凑合 日本語 тест", "off"),
    ("", "on"),
]
MASK = (1 << 64) - 1
# Words, word pairs, runs of two and of three characters of "Hi Zoë" in 65536 buckets.
PINNED = [1839, 4594, 9159, 20437, 38709, 31689, 25925, 39802, 23164, 37586, 29153, 18654, 60789, 19794, 26270, 38379]


def fitted(**params: object) -> Encoder:
    recipe = load_recipe("intents")
    frame = pl.DataFrame(ROWS, schema=["text", "label"], orient="row")
    return recipe.fit_encoder([frame], parse(EncoderParams, params))


def mix(value: int, salt: int) -> int:
    value = (value + salt * 0x9E3779B97F4A7C15) & MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def slow_grams(text: str, buckets: int, apart: bool) -> list[int]:
    """The same definition, one n-gram at a time in plain integers."""

    def bucket(value: int, first: int, end: int) -> int:
        return first + ((value >> 32) * (end - first) >> 32)

    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.replace("\0", " ")).lower())
    text = "".join(" " if c.isspace() or unicodedata.category(c) in ("Cc", "Zs") else c for c in text)
    text = " " + " ".join(text.split(" ")).strip(" ") + " "
    while "  " in text:
        text = text.replace("  ", " ")
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split(" ")
    hashes = [gr.word_hash(word) for word in words if word]
    cut, across = buckets // 4, buckets // 8 * 5
    ids = [bucket(mix(h, 1), 1, cut) for h in hashes]
    ids += [bucket(mix((mix(a, 2) * gr._BASE + b) & MASK, 2), 1, cut) for a, b in itertools.pairwise(hashes)]
    for n in range(2, 6):
        for i in range(len(text) - n + 1):
            value = 0
            for c in text[i : i + n]:
                value = (value * gr._BASE + ord(c)) & MASK
            zone = (
                (cut, buckets) if not apart else (across, buckets) if " " in text[i + 1 : i + n - 1] else (cut, across)
            )
            ids.append(bucket(mix(value, 16 + n), *zone))
    return ids


# Combining marks, ligatures, letters whose lower case is two, a final sigma, joined emoji, flags, marks of direction,
# invisible characters, a separator inside, one beyond the first plane.
STRANGE = "a\u0301 \u0308x \ufb01 \u0130 \u00df \u03a3\u03a3 \u1e9e \U0001f469\u200d\U0001f680 \U0001f1e9\U0001f1ea"
STRANGE += " \u202eabc \u05d0\u05d1 \u0645\u200c\u06cc \u00ad\ufeff \x00 \u2003\u3000\t \U00020000 \uff41 \u1100\u1161"
LETTERS = st.characters(codec="utf-8") | st.sampled_from(sorted({*STRANGE, *" a"}))
TEXTS = st.lists(st.text(LETTERS, max_size=30), max_size=6)


@settings(deadline=None, max_examples=150)
@given(TEXTS, st.booleans())
def test_a_chunk_is_encoded_as_each_text_alone_and_as_the_definition_says(texts: list[str], apart: bool) -> None:
    texts = [*texts, STRANGE]
    characters = tx.normalise(texts)
    values, offsets = gr.grams(characters, gr.words(characters), 2, 2, 5, 1024, apart)
    assert len(offsets) == len(texts) + 1
    for i, text in enumerate(texts):
        assert values[offsets[i] : offsets[i + 1]].tolist() == slow_grams(text, 1024, apart), repr(text)


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_counted_ids_are_those_of_the_texts(texts: list[str]) -> None:
    for some in (texts, [*texts, STRANGE], [STRANGE, *texts]):
        characters = tx.normalise(some)
        found = gr.words(characters)
        values, _ = gr.grams(characters, found, 3, 2, 5, 1024)
        expected = np.bincount(values, minlength=1024)
        counts = np.zeros(1024, dtype=np.int64)
        gr.count_grams(characters, found, 3, 2, 5, counts)
        assert counts.tolist() == expected.tolist()


def test_words_whose_hashes_share_their_top_bits_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "SPREAD", np.uint64(1))  # as they are, hashes of "b" and "c" are 98 and 99
    counts = vocabulary.WordCounts()
    characters = tx.normalise(["c b c b c a b a"])
    counts.add(characters, gr.words(characters))
    assert counts.most_common(9) == ["b", "c", "a"]


@settings(deadline=None, max_examples=40)
@given(TEXTS)
def test_where_blocks_end_changes_no_id(texts: list[str]) -> None:
    encoder = fitted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tx, "BLOCK", 12)
        cut = encoder.encode(texts)
    for name, whole in encoder.encode(texts).items():
        part = cut[name]
        assert isinstance(whole, Ragged)
        assert isinstance(part, Ragged)
        assert (part.values.tolist(), part.offsets.tolist()) == (whole.values.tolist(), whole.offsets.tolist())


def test_a_block_holds_a_text_at_least_and_all_are_in_one() -> None:
    texts = ["a" * (tx.BLOCK * 2), "", "b", "c" * (tx.BLOCK - 4), "d"]
    assert list(tx.blocks(texts)) == [texts[:1], texts[1:4], texts[4:]]
    assert list(tx.blocks([])) == [[]]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=20), max_size=5))
def test_a_packed_text_gives_the_same_ids(texts: list[str]) -> None:
    encoder = fitted()
    assert isinstance(encoder, Packs)
    texts = [*texts, STRANGE, "\ud800 lone surrogate"]
    packed = encoder.pack(texts)
    assert set(packed) == set(encoder.packed)
    expected = encoder.encode(texts)
    for names in (["grams"], ["words"], ["grams", "words"]):
        unpacked = encoder.unpack(packed, names)
        assert list(unpacked) == names
        for name in names:
            one, other = unpacked[name], expected[name]
            assert isinstance(one, Ragged)
            assert isinstance(other, Ragged)
            assert (one.values.tolist(), one.offsets.tolist()) == (other.values.tolist(), other.offsets.tolist())
            assert one.values.dtype == np.int64


def test_threads_do_not_share_the_arrays_that_they_work_in() -> None:
    encoder = fitted(char_ngrams_max=8)
    texts = [[f"{ROWS[i % 4][0]} {i} {number}" for i in range(400)] for number in range(4)]

    def ids(some: list[str]) -> list[int]:
        grams = encoder.encode(some)["grams"]
        assert isinstance(grams, Ragged)
        return grams.values.tolist()

    alone = list(map(ids, texts))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ids, texts * 5)) == alone * 5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.sampled_from("ab \u00e9"), max_size=12), min_size=1, max_size=30), st.integers(1, 5))
def test_an_encoder_fitted_in_parts_is_the_one_fitted_at_once(texts: list[str], parts: int) -> None:
    recipe = load_recipe("intents")
    assert isinstance(recipe, FitsInParts)
    frame = pl.DataFrame({"text": texts, "label": [str(len(text) % 3) for text in texts]})
    params = parse(EncoderParams, {"vocabulary": 3})
    whole = recipe.fit_encoder([frame], params)
    size = -(-len(texts) // parts)
    counted = [pickle.loads(pickle.dumps(recipe.count_rows([part], params))) for part in frame.iter_slices(size)]
    assert recipe.merge_counts(counted).to_document() == whole.to_document()
    words = Counter(word for text in texts for word in text.split())
    often = sorted((-count, word) for word, count in words.items() if count > 1)
    assert whole.to_document()["vocabulary"] == [word for _, word in often[:3]]


def test_words_that_came_once_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST", 20)
    monkeypatch.setattr(vocabulary, "AT_ONCE", 10)
    counts = vocabulary.WordCounts()
    for number in range(200):
        characters = tx.normalise([f"often word{number} {'twice' if number > 197 else ''}"])
        counts.add(characters, gr.words(characters))
    assert counts.most_common(5) == ["often", "twice"]
    assert len(counts._known.hashes) <= 20


def test_the_hash_is_pinned() -> None:
    characters = tx.normalise(["Hi Zoë"])
    values, _ = gr.grams(characters, gr.words(characters), 2, 2, 3, 65536, apart=False)
    assert values.tolist() == [
        1839,
        4594,
        9159,
        24491,
        61035,
        46994,
        35467,
        63221,
        29945,
        58789,
        41923,
        20925,
        56043,
        23205,
        36156,
        60375,
    ]


def test_runs_of_characters_across_a_space_have_buckets_of_their_own() -> None:
    characters = tx.normalise(["Hi Zoë"])
    first, _ = gr.grams(characters, gr.words(characters), 2, 2, 3, 65536, apart=False)
    values, _ = gr.grams(characters, gr.words(characters), 2, 2, 3, 65536)
    assert values.tolist() == PINNED
    assert values[:3].tolist() == first[:3].tolist(), "words are where they were"
    assert [i for i, value in enumerate(values) if value >= gr.inner_buckets(65536)] == [12], "'i z'"


def test_a_document_of_the_first_format_is_read_as_it_was_meant() -> None:
    document = {**fitted().to_document(), "format": 1}
    old = load_recipe("intents").load_encoder(document)
    assert old.to_document()["format"] == 1
    new = fitted().encode(["turn on the light"])["grams"]
    read = old.encode(["turn on the light"])["grams"]
    assert isinstance(new, Ragged)
    assert isinstance(read, Ragged)
    assert read.values.tolist() != new.values.tolist(), "a model of that time would be given another's n-grams"


def test_normalisation_makes_case_width_and_spaces_equal() -> None:
    encoder = fitted()
    one, two = encoder.encode(["Turn  on\tthe light"]), encoder.encode(["ｔｕｒｎ on the LIGHT "])
    for name, value in one.items():
        other = two[name]
        assert isinstance(value, Ragged)
        assert isinstance(other, Ragged)
        assert value.values.tolist() == other.values.tolist()


def test_accents_are_folded_on_demand() -> None:
    folded = fitted(fold_accents=True).encode(["Küche", "Kuche"])["words"]
    kept = fitted().encode(["Küche", "Kuche"])["words"]
    assert isinstance(folded, Ragged)
    assert isinstance(kept, Ragged)
    assert folded.values[0] == folded.values[1]
    assert kept.values[0] != kept.values[1]


def test_the_document_gives_back_an_equal_encoder() -> None:
    encoder = fitted()
    recipe = load_recipe("intents")
    assert isinstance(recipe, Recipe)
    again = recipe.load_encoder(json.loads(json.dumps(encoder.to_document())))
    assert again.labels == encoder.labels == ["off", "on"]
    assert again.features == encoder.features
    texts = [text for text, _ in ROWS] + ["never seen before", "\ud800 lone surrogate"]
    for name, value in encoder.encode(texts).items():
        other = again.encode(texts)[name]
        assert isinstance(value, Ragged)
        assert isinstance(other, Ragged)
        assert np.array_equal(value.values, other.values)
        assert np.array_equal(value.offsets, other.offsets)


def test_grams_that_training_never_saw_are_dropped() -> None:
    grams = fitted().encode(["zzzzzzz"])["grams"]
    assert isinstance(grams, Ragged)
    assert len(grams.values) < 5  # what is left are collisions


def test_long_texts_keep_their_first_words_and_padding_is_zero() -> None:
    words = fitted(max_words=3).encode(["a b c d e f", "", "a"])["words"]
    assert isinstance(words, Ragged)
    assert np.diff(words.offsets).tolist() == [3, 0, 1]
    assert words.to_padded()[1].tolist() == [0, 0, 0]


def test_no_rows_is_the_users_mistake() -> None:
    with pytest.raises(InvalidData, match="no rows"):
        load_recipe("intents").fit_encoder([], EncoderParams())


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"recipe": "entities", "format": 1}, "expected recipe 'intents'"),
        ({"recipe": "intents", "format": 99}, "format 99"),
        ({"recipe": "intents", "format": 1}, "KeyError"),
    ],
)
def test_a_damaged_encoder_is_said_to_be_one(document: dict[str, object], says: str) -> None:
    with pytest.raises(CorruptArtifact, match=says):
        load_recipe("intents").load_encoder(document)


def test_encoder_params_that_leave_nothing_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="nothing is left to encode"):
        parse(EncoderParams, {"word_ngrams": 0, "char_ngrams_max": 0})
