"""The entities encoder: words and characters with their places, the same everywhere."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import CorruptArtifact, InvalidData
from shipway.recipes import Ragged, load_recipe
from shipway.recipes.entities.encode import EntitiesEncoder, folded
from shipway.tasks.spans.tags import check_lengths
from tests.fixtures import named

RECIPE = load_recipe("entities")


def fit(rows: pl.DataFrame, **params: Any) -> EntitiesEncoder:
    found = RECIPE.fit_encoder([rows.head(40), rows.slice(40)], RECIPE.EncoderParams(**params))
    assert isinstance(found, EntitiesEncoder)
    return found


@pytest.fixture(scope="module")
def encoder() -> EntitiesEncoder:
    return fit(named.rows(120), word_chars=4)


def rows_of(value: Any) -> list[list[int]]:
    assert isinstance(value, Ragged)
    return [value.row(i).tolist() for i in range(len(value))]


def test_words_that_mean_the_same_have_one_id_and_keep_their_characters(encoder: EntitiesEncoder) -> None:
    found = encoder.encode(["Turn turn TURN", "turn", ""])
    first, alone, none = rows_of(found["words"])
    assert first == alone * 3
    assert none == []
    capital, small, shouted = (rows_of(found["characters"])[0][at : at + 4] for at in (0, 4, 8))
    assert small == rows_of(found["characters"])[1]
    assert capital[1:] == small[1:]
    assert capital != small
    assert shouted != small
    assert encoder.labels == ["number", "room", "song"]


def test_unknown_words_share_ids_and_long_ones_show_both_ends(encoder: EntitiesEncoder) -> None:
    found = encoder.encode(["ŋŋŋŋ tuŋŋŋŋrn 12 99 7"])
    [words], [characters] = rows_of(found["words"]), rows_of(found["characters"])
    assert all(0 < word <= encoder.params.unknown_buckets for word in words[:2])
    assert characters[:4] == [1, 1, 1, 1]
    assert characters[4:8] == rows_of(encoder.encode(["turn"])["characters"])[0]
    assert words[2] == words[3] != words[4]  # numbers by how many digits they have
    assert folded("Ⅻ½") == "xii1⁄2"


@given(st.lists(st.text(), max_size=4))
@settings(deadline=None)
def test_offsets_are_as_many_as_words_and_no_word_is_padding(encoder: EntitiesEncoder, texts: list[str]) -> None:
    short = EntitiesEncoder(encoder.params.model_copy(update={"max_words": 3}), encoder.labels, [], "")
    for each in (encoder, short):
        encoded, (starts, ends) = each.encode(texts), each.token_offsets(texts)
        check_lengths(each, encoded, starts, ends)
        words, characters = encoded["words"], encoded["characters"]
        assert isinstance(words, Ragged)
        assert isinstance(characters, Ragged)
        assert (words.values > 0).all()
        assert (words.values < each.word_ids).all()
        assert (characters.values < each.character_ids).all()
        assert (characters.offsets == words.offsets * 4).all()
        for i, text in enumerate(texts):
            assert all(0 <= a < b <= len(text) for a, b in zip(starts.row(i), ends.row(i), strict=True))
    assert max(map(len, rows_of(short.encode(texts)["words"])), default=0) <= 3


def test_its_document_gives_an_equal_encoder(encoder: EntitiesEncoder) -> None:
    again = RECIPE.load_encoder(json.loads(json.dumps(encoder.to_document())))
    texts = ["turn on 20 lights in the Küche", unicodedata.normalize("NFD", "Zoë"), ""]
    assert again.to_document() == encoder.to_document()
    for name, value in encoder.encode(texts).items():
        assert rows_of(again.encode(texts)[name]) == rows_of(value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"recipe": "intents"}, "expected recipe 'entities' of format 2, got 'intents'"),
        ({"format": 1}, "got 'entities' of format 1"),
        ({"vocabulary": None}, "encoder.json: TypeError"),
        ({"params": {"word_chars": 0}}, "encoder.json: ValidationError"),
    ],
)
def test_a_document_of_something_else_is_refused(encoder: EntitiesEncoder, change: dict[str, Any], says: str) -> None:
    with pytest.raises(CorruptArtifact, match=says):
        RECIPE.load_encoder({**encoder.to_document(), **change})


def test_no_rows_fit_no_encoder() -> None:
    with pytest.raises(InvalidData, match="the training split has no rows"):
        fit(named.rows(1).head(0))


def test_ids_stay_what_they_were() -> None:
    """Models are served by the encoder that they were trained with: a change of these needs a new FORMAT."""
    rows = pl.DataFrame({"text": ["play the Song 20", "the song"], "label": ['[[9,13,"song"]]', "[]"]})
    found = fit(rows, word_chars=3, min_count=2, unknown_buckets=8).encode(["the song Québec 5"])
    assert rows_of(found["words"]) == GOLDEN["words"]
    assert rows_of(found["characters"]) == GOLDEN["characters"]


GOLDEN = {"words": [[10, 9, 2, 2]], "characters": [[14, 8, 6, 13, 10, 7, 1, 6, 1, 1, 0, 0]]}
