"""From served tags to spans of the caller's own text."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest

from shipway.recipes.arrays import Ragged, concatenate, dense
from shipway.tasks import load_task
from shipway.tasks.base import LocatesAnswers
from tests.fixtures import named

answers = load_task("spans").answers
TYPES = ["number", "room"]
OUTSIDE, B_NUMBER, I_NUMBER, B_ROOM, I_ROOM = range(5)
everything, settings = answers.everything(), answers.Settings()


def columns(texts: list[str], tags: list[list[int]], scores: list[list[float]] | None = None) -> Any:
    """What comes of tags, as the session has it."""
    encoder = named.WordEncoder(TYPES, [])
    inputs = dense(encoder.encode(texts))
    width = inputs["tokens"].shape[1]
    # Behind a text's tokens a model answers anything.
    padded = np.array([row + [B_ROOM] * (width - len(row)) for row in tags], np.int32)
    given = np.full(padded.shape, 0.9, np.float32)
    for i, row in enumerate(scores or []):
        given[i, : len(row)] = row
    assert isinstance(answers, LocatesAnswers)
    return answers.locate(encoder, answers.decode(encoder, {"tags": padded, "scores": given}, inputs), texts)


def spans(found: Any, params: Any = everything, settings: Any = settings) -> list[Any]:
    documents = answers.documents(TYPES, found, params, settings)
    return [[(span["start"], span["end"], span["type"]) for span in answer["spans"]] for answer in documents]


@pytest.mark.parametrize(
    "before", ["", "hey, ", "👍 ", "👩‍👩‍👧 ", unicodedata.normalize("NFD", "Zoë Ångström: "), "שלום ", "   \t", "🇨🇭"]
)
def test_places_are_code_points_of_the_callers_string(before: str) -> None:
    text = f"{before}wait two  hours in the livin\u0301g room"
    words = named._TOKEN.findall(text)
    tags = [B_NUMBER if word == "two" else I_NUMBER if word == "hours" else OUTSIDE for word in words]
    tags[-1] = I_ROOM  # behind outside: begins a span
    [found] = spans(columns([text], [tags]))
    assert [(text[start:end], kind) for start, end, kind in found] == [("two  hours", "number"), ("room", "room")]


def test_a_sequence_of_tags_is_read_as_conlleval_reads_it() -> None:
    text = "a b c d e"
    for tags, expected in (
        ([I_ROOM, I_ROOM, OUTSIDE, I_ROOM, I_NUMBER], [(0, 3, "room"), (6, 7, "room"), (8, 9, "number")]),
        (
            [B_ROOM, B_ROOM, I_ROOM, B_NUMBER, I_ROOM],
            [(0, 1, "room"), (2, 5, "room"), (6, 7, "number"), (8, 9, "room")],
        ),
        ([OUTSIDE] * 5, []),
    ):
        assert spans(columns([text], [tags])) == [expected]


def test_a_span_is_as_sure_as_its_least_sure_token_and_unsure_ones_may_be_left_out() -> None:
    found = columns(["two three room"], [[B_NUMBER, I_NUMBER, B_ROOM]], [[0.9, 0.5, 0.8]])
    [answer] = answers.documents(TYPES, found, everything, settings)
    assert [float(span["score"]) for span in answer["spans"]] == pytest.approx([0.5, 0.8])
    cut = answers.Settings(least_score=0.7)
    assert spans(found, answers.Params(), cut) == [[(10, 14, "room")]]
    assert len(spans(found, answers.Params(least_score=0.4), cut)[0]) == 2
    assert len(spans(found, everything, cut)[0]) == 2
    assert answers.outputs(TYPES, found, answers.Params(), cut)["count"].tolist() == [1]


def test_rows_without_spans_tokens_or_words_have_empty_lists() -> None:
    found = columns(["a", "", "  "], [[OUTSIDE], [], []])
    assert spans(found) == [[], [], []]
    assert all(isinstance(value, Ragged) for value in found.values())
    assert answers.line({"spans": []}) == ["(none)", ""]
    assert answers.outputs(TYPES, found, everything, settings)["starts"].tolist() == [[-1], [-1], [-1]]


def test_v2_tensors_are_padded_to_the_row_with_most_spans() -> None:
    parts = [columns(["two", "a"], [[B_NUMBER], [OUTSIDE]]), columns(["a two room"], [[OUTSIDE, B_NUMBER, B_ROOM]])]
    outputs = answers.outputs(TYPES, concatenate(parts), everything, settings)
    assert set(outputs) == set(answers.tensors)
    assert outputs["count"].tolist() == [1, 0, 2]
    assert outputs["starts"].tolist() == [[0, -1], [-1, -1], [2, 6]]
    assert outputs["ends"].tolist() == [[3, -1], [-1, -1], [5, 10]]
    assert outputs["types"].tolist() == [["number", ""], ["", ""], ["number", "room"]]
    assert outputs["scores"].dtype == np.float32


def test_a_served_answer_is_the_same_where_its_spans_are() -> None:
    kept = columns(["two room"] * 6, [[B_NUMBER, B_ROOM]] * 6)
    served = answers.documents(TYPES, kept, everything, settings)
    served[1]["spans"][0]["score"] = 0.8
    served[2]["spans"][0]["end"] = 4
    served[3]["spans"] = served[3]["spans"][:1]
    served[4] = {"spans": [{"start": 0}]}
    served[5] = {}
    gaps, same = answers.differences(TYPES, kept, served, 1e-4)
    assert same.tolist() == [True, True, False, False, False, False]
    assert gaps[:2] == pytest.approx([0, 0.1])
    assert np.isinf(gaps[2:]).all()


def test_a_line_of_a_terminal_names_types_and_places() -> None:
    [answer] = answers.documents(TYPES, columns(["two room"], [[B_NUMBER, B_ROOM]]), everything, settings)
    assert answers.line(answer) == ["number 0-3, room 4-8", "0.900"]
    assert len(answers.headings) == 2
