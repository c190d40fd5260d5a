from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.tasks import load_task
from shipway.tasks.base import TellsChanges

LABELS = load_task("tagging").labels


def read(cells: list[str | None], **params: Any) -> tuple[list[str | None], list[str | None]]:
    label, reason = LABELS.read(pl.col("label"), LABELS.Params(**params))
    frame = pl.DataFrame({"label": pl.Series(cells, dtype=pl.String)})
    found = frame.with_columns(label.alias("label"), reason.alias("reason"))
    return found["label"].to_list(), found["reason"].to_list()


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("pool", ["pool"]),
        ("pool| balcony |pool", ["balcony", "pool"]),
        ('["pool", "balcony"]', ["balcony", "pool"]),
        (' ["a|b", "c\\u00e9"] ', ["a|b", "cé"]),
        ("Meer|Ärmel", ["Meer", "Ärmel"]),
    ],
)
def test_a_cell_is_a_json_list_or_names_with_a_separator(cell: str, tags: list[str]) -> None:
    [label], [reason] = read([cell])
    assert (label, reason) == (json.dumps(tags, ensure_ascii=False), None)


def test_another_separator_is_stated() -> None:
    assert read(["a, b|c"], separator=",")[0] == ['["a", "b|c"]']
    with pytest.raises(InvalidSpec, match=r"dataset\.labels\.separator"):
        parse(LABELS.Params, {"separator": ""}, "dataset.labels")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "no tag"),
        ("  ", "no tag"),
        ("[]", "no tag"),
        ("a||b", "empty tag"),
        ('["a", ""]', "empty tag"),
        ('["a", 3]', "no JSON list of names"),
        ("[a]", "no JSON list of names"),
        ("[" * 100_000, "no JSON list of names"),
        ("[" + "9" * 5000 + "]", "no JSON list of names"),
        ('{"a": 1}\n', None),
        ("a\ufffd", "replacement character"),
        ('["a\\nb"]', "line break"),
        ('["\\ud800"]', "control character"),
        ("x" * 201, "longer than 200"),
    ],
)
def test_a_bad_cell_is_refused_with_its_reason(cell: str | None, reason: str | None) -> None:
    [label], [why] = read([cell])
    assert (label is None) == (why is not None) == (reason is not None)
    assert reason is None or reason in (why or "")


def test_rows_without_tags_are_rows_where_that_is_asked_for() -> None:
    assert read([None, "", "[]", "a"], allow_none=True) == (["[]", "[]", "[]", '["a"]'], [None] * 4)


def test_names_are_folded_as_asked() -> None:
    assert read(["Sea view|SEA  VIEW|sea\u200b view"], fold="unicode")[0] == ['["SEA VIEW", "Sea view", "sea view"]']
    assert read(["Sea view|SEA  VIEW"], fold="case")[0] == ['["sea view"]']


@given(st.lists(st.text(max_size=20), max_size=5), st.sampled_from(["none", "unicode", "case"]))
def test_what_was_read_is_read_again_as_it_is(tags: list[str], fold: str) -> None:
    for cell in (json.dumps(tags), "|".join(tags)):
        [label], [reason] = read([cell], fold=fold, allow_none=True)
        assert (label is None) != (reason is None)
        if label is not None:
            assert read([label], fold=fold, allow_none=True) == ([label], [None])
            assert sorted(set(json.loads(label))) == json.loads(label)


def test_each_tag_of_a_row_is_one_of_its_classes() -> None:
    found = LABELS.classes(pl.Series("label", ['["a", "b"]', "[]"]))
    assert found is not None
    assert found.to_list() == [["a", "b"], []]
    empty = LABELS.classes(pl.Series("label", [], dtype=pl.String))
    assert empty is not None
    assert empty.dtype == pl.List(pl.String)


def test_targets_are_one_for_each_tag_of_the_row() -> None:
    encoder: Any = SimpleNamespace(labels=["a", "b", "c"])
    spec = LABELS.targets(encoder)["label"]
    assert (spec.dtype, spec.shape) == ("float32", [3])
    found = LABELS.encode(encoder, ['["a", "c"]', "[]"], [], {})["label"]
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_tags_that_look_alike_are_named_to_the_person() -> None:
    [note] = LABELS.notes({"Sea view": 9, "sea view": 1, "pool": 3})
    assert "1 pairs of labels look alike" in note


def test_only_tags_that_a_cell_does_not_hold_are_told_as_changed() -> None:
    cells = ["Pool | Sea view", '["Pool"]', "", "POOL|Garden", "Cafe\u0301"]
    labels, _ = read([*cells], allow_none=True, fold="case")
    plain, _ = read([*cells], allow_none=True)
    assert isinstance(LABELS, TellsChanges)
    given = pl.Series(cells)
    assert LABELS.is_changed(given, pl.Series(plain)).to_list() == [False] * 5
    assert LABELS.is_changed(given, pl.Series(labels)).to_list() == [True, True, False, True, True]
