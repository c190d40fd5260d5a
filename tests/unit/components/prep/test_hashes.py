"""The pinned hash: a row never changes sides, whatever else is in the data and whichever engine reads it."""

from __future__ import annotations

import unicodedata

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.components.prep.hashes import copies, hash_strings, mix, split_codes, text_form
from shipway.inputs.text import kind

WHITE = (  # Unicode White_Space
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# Letters that are newer than Python's Unicode tables have another lower case in Polars.
texts = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]), max_size=30)


def normalised(text: str) -> str:
    """What makes two texts the same to leakage and groups."""
    content: str = pl.DataFrame({"text": [text]}).select(kind.content()).item()
    return content


def reference_normalise(text: str) -> str:
    """The definition in docs/decisions, word by word."""
    folded = unicodedata.normalize("NFC", text).lower()
    parts: list[str] = []
    for character in folded:
        is_white = character in WHITE
        if not is_white:
            parts.append(character)
        elif not parts or parts[-1] != " ":
            parts.append(" ")
    return "".join(parts).strip(" ")


def reference_mix(x: int) -> int:
    z = (x + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def hashes(*values: str) -> np.ndarray:  # type: ignore[type-arg]
    return hash_strings(pl.Series(values, dtype=pl.String))


@settings(deadline=None)
@given(texts)
def test_normalising_is_what_the_definition_says(text: str) -> None:
    assert normalised(text) == reference_normalise(text)


@settings(deadline=None)
@given(st.lists(texts | st.just("plain words") | st.just(None), max_size=8))
def test_normalising_a_text_depends_on_no_other(column: list[str | None]) -> None:
    together = pl.DataFrame({"text": column}, schema={"text": pl.String}).select(kind.content()).to_series()
    assert together.to_list() == [None if text is None else reference_normalise(text) for text in column]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_equal_rows_are_numbered_in_their_order(values: list[int]) -> None:
    expected = [values[:place].count(value) for place, value in enumerate(values)]
    assert copies(np.array(values, dtype=np.uint64)).tolist() == expected


@settings(deadline=None)
@given(texts)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_mixing_is_splitmix64(values: list[int]) -> None:
    assert mix(np.array(values, dtype=np.uint64)).tolist() == [reference_mix(value) for value in values]


def test_hashes_are_pinned() -> None:
    # XXH3-64 of the UTF-8 bytes: these numbers stand in docs/decisions/0030 and must never change.
    assert [f"{value:016x}" for value in hashes("", "turn on the light", "schalte das Licht an", "电灯").tolist()] == [
        "2d06800538d394c2",
        "80f9dabaf6dbb71c",
        "cde07f2ce2fdcefb",
        "03fe0a0f3090d9fe",
    ]


def test_cells_that_are_no_text_have_a_pinned_form() -> None:
    assert text_form(pl.Series(["1.0", None, "\u7535"])).to_list() == ["1.0", "", "\u7535"]
    assert text_form(pl.Series([b"turn on the light", None, b""])).to_list() == [
        "80f9dabaf6dbb71c",
        "",
        "2d06800538d394c2",
    ]


def test_sides_are_pinned() -> None:
    groups = hashes(*(f"template {number}" for number in range(20)))
    assert "".join("ret"[code] for code in split_codes(groups, 0, 0.1, 0.15)) == "terrrrrrrrtttererrrr"
    assert "".join("ret"[code] for code in split_codes(groups, 1, 0.1, 0.15)) == "rrerrrrrterrrtrrtrer"


@settings(deadline=None)
@given(st.lists(texts, min_size=1, unique=True), st.lists(texts), st.integers(0, 2**63 - 1))
def test_a_row_keeps_its_side_when_rows_are_added(rows: list[str], more: list[str], seed: int) -> None:
    before = split_codes(hashes(*rows), seed, 0.1, 0.15)
    after = split_codes(hashes(*more, *rows), seed, 0.1, 0.15)[len(more) :]
    assert np.array_equal(before, after)


@settings(deadline=None)
@given(st.lists(texts, min_size=1), st.floats(0, 0.4), st.floats(0, 0.4))
def test_a_larger_test_share_only_moves_rows_into_test(rows: list[str], small: float, more: float) -> None:
    groups = hashes(*rows)
    before = split_codes(groups, 0, 0.1, small)
    after = split_codes(groups, 0, 0.1, small + more)
    assert np.all(after[before == 2] == 2)


def test_shares_are_those_asked_for() -> None:
    groups = hashes(*map(str, range(20_000)))
    shares = np.bincount(split_codes(groups, 7, 0.1, 0.15), minlength=3) / 20_000
    assert np.allclose(shares, [0.75, 0.1, 0.15], atol=0.01)
