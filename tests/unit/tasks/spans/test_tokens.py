"""Words of texts in any script, with their places."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.tasks.spans.tokens import tokens


def words(text: str) -> list[str]:
    starts, ends = tokens([text])
    return [text[a:b] for a, b in zip(starts.values, ends.values, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set it to 25°C, please", ["set", "it", "to", "25", "°", "C", ",", "please"]),
        ("l'entrée 7pm 20:30", ["l", "'", "entrée", "7", "pm", "20", ":", "30"]),
        (unicodedata.normalize("NFD", "Zoë née"), [unicodedata.normalize("NFD", "Zoë"), "née".replace("é", "e\u0301")]),
        ("👩‍👩‍👧 play", ["👩", "👩", "👧", "play"]),
        ("打开灯 on", ["打", "开", "灯", "on"]),
        ("เปิดไฟ", ["เ", "ปิ", "ด", "ไ", "ฟ"]),
        ("बत्ती जलाओ", ["बत्ती", "जलाओ"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("\u0301a b\u0301", ["\u0301a", "b\u0301"]),
        ("\u200fשלום\u200f, \ufeff\u200b\u0301a\u00adb\u200b\u0301", ["שלום", ",", "\u0301a\u00adb\u200b\u0301"]),
        ("\u200f\u200b", []),
        (" \u00a0\t\x01 ", []),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.lists(st.text(), max_size=5))
@settings(deadline=None)
def test_a_text_is_divided_alike_alone_and_among_others_and_nothing_that_shows_is_lost(texts: list[str]) -> None:
    starts, ends = tokens(texts)
    for number, text in enumerate(texts):
        alone, until = tokens([text])
        assert np.array_equal(starts.row(number), alone.values)
        assert np.array_equal(ends.row(number), until.values)
        assert (alone.values < until.values).all()
        assert (until.values[:-1] <= alone.values[1:]).all()
        covered = np.zeros(len(text) + 1, dtype=bool)
        for a, b in zip(alone.values, until.values, strict=True):
            covered[a:b] = True
        left = "".join(character for character, is_in in zip(text, covered, strict=False) if not is_in)
        assert all(character.isspace() or unicodedata.category(character) in ("Cc", "Zs", "Cf") for character in left)
