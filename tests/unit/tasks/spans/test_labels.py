"""Label cells of spans: their one form, what is no span, and tags of tokens."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.characters import FORMAT_CHARACTERS
from shipway.errors import InvalidData
from shipway.recipes import Ragged
from shipway.recipes.entities.encode import EntitiesEncoder
from shipway.recipes.entities.params import EncoderParams
from shipway.tasks import classes_in, load_task
from shipway.tasks.base import ChecksInputs, TellsChanges, TellsUnanswerable
from shipway.tasks.spans.labels import NOT_READ, NOT_WHOLE
from shipway.tasks.spans.spans import Span, parse, types_in, write_spans
from shipway.tasks.spans.tags import places, tag_count, tag_names, to_tags
from tests.fixtures import named

labels = load_task("spans").labels
TYPES = ["number", "room", "song"]
IDS = {name: number for number, name in enumerate(TYPES)}


def read(*cells: str | None) -> list[tuple[str | None, str | None]]:
    """(label, reason) of each cell."""
    text, reason = labels.read(pl.col("cell"), labels.Params())
    frame = pl.DataFrame({"cell": pl.Series(cells, dtype=pl.String)})
    return frame.select(text.alias("label"), reason.alias("reason")).rows()


@pytest.mark.parametrize(
    "cell",
    [
        '[[12, 17, "room"], [0, 3, "number"]]',
        '[{"start": 0, "end": 3, "type": "number", "text": "two"}, {"type": " room ", "end": 17, "start": 12}]',
        ' [[0,3,"number"],{"start":12,"end":17,"type":"room"}]',
        '[{"start": 0, "end": 3, "label": "number"}, {"start": 12, "end": 17, "entity": "room", "value": "a"}]',
        '[{"start_offset": 0, "end_offset": 3, "label": "number", "id": 1}, [12, 17, "room"]]',
    ],
)
def test_every_way_of_writing_spans_has_one_form_that_stays_as_it_is(cell: str) -> None:
    [(label, reason)] = read(cell)
    assert (label, reason) == ('[[0,3,"number"],[12,17,"room"]]', None)
    assert read(label) == [(label, None)]


def test_a_row_without_spans_is_a_good_one() -> None:
    assert read("[]", "[ ]") == [("[]", None), ("[]", None)]
    assert classes_in(load_task("spans"), pl.Series(["[]"])) == set()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "empty label"),
        ("  ", "empty label"),
        ("room", "not JSON"),
        ("[[0, 3, 'room']]", "a list as Python shows it and not JSON; write it by json.dumps"),
        ('[(0, 3, "room\'s")]', "a list as Python shows it"),
        ("[" * 100_000, "not JSON"),
        ("[[" + "9" * 5000 + ', 3, "room"]]', "not JSON"),
        ('{"start": 0}', "not a list of spans"),
        ("7", "not a list of spans"),
        ("[[0, 3]]", "a span is not"),
        ('[[0, 3.0, "room"]]', "a span is not"),
        ('[[true, 3, "room"]]', "a span is not"),
        ('["room"]', "a span is not"),
        ('[{"start": 0, "end": 3}]', "a span is not"),
        ('[[-1, 3, "room"]]', "begins before the text"),
        ('[[3, 3, "room"]]', "a span is empty"),
        ('[[3, 1, "room"]]', "a span is empty"),
        ('[[0, 30000000000, "room"]]', "ends behind the text"),
        ('[[0, 3, " "]]', "type is empty"),
        ('[[0, 3, "a\\u0000b"]]', "a span's type holds a control character"),
        ('[[0, 3, "\\ud800"]]', "a span's type holds a control character"),
        ('[[0, 5, "room"], [4, 7, "song"]]', "two spans overlap"),
        ('[[0, 5, "room"], [0, 5, "room"]]', "two spans overlap"),
        ('[[0, 9, "room"], [1, 2, "song"], [5, 6, "song"]]', "two spans overlap"),
    ],
)
def test_a_bad_cell_says_why(cell: str | None, reason: str) -> None:
    [(label, found)] = read(cell)
    assert found is not None
    assert reason in found
    assert label == cell


def test_a_span_must_lie_within_its_text_counted_in_code_points() -> None:
    assert isinstance(labels, ChecksInputs)
    family = "👩‍👩‍👧"
    _, found = labels.fitted(
        pl.Series(['[[0,5,"a"]]', '[[0,6,"a"]]', "[]", '[[0,1,"a"],[1,2,"a"]]', '[[0,2,"a"]]']),
        [family, family, "", "e\u0301", "\u00e9"],
    )
    assert [reason is None for reason in found] == [True, False, True, True, False]
    assert found[1] == "a span ends behind the text"


def test_blanks_at_a_spans_ends_are_taken_off_and_that_is_a_change() -> None:
    assert re.findall(f"[{FORMAT_CHARACTERS}]", "".join(map(chr, range(0x110000)))) == [
        character for character in map(chr, range(0x110000)) if unicodedata.category(character) == "Cf"
        and not 0x110BD <= ord(character) < 0xE0000
    ]  # fmt: skip
    given = ['[[3,8,"a"],[8,9,"b"]]', '[[0,2,"a"]]', '[[2,3,"a"]]']
    fitted, reasons = labels.fitted(pl.Series("label", given), ["in \u00a0Ulm\u200fx", "in", "in \ufeff"])
    assert fitted.to_list() == ['[[4,7,"a"],[8,9,"b"]]', given[1], given[2]]
    assert reasons.to_list() == [None, None, "a span is of blanks alone"]
    assert isinstance(labels, TellsChanges)
    cells = pl.Series(['[[3, 8, "a"], {"start": 8, "end": 9, "type": "b"}]', '[{"start": 0, "end": 2, "type": "a"}]'])
    assert labels.is_changed(cells, fitted.head(2)).to_list() == [True, False], "another way of writing is none"


def test_spans_that_no_answer_can_have_are_counted_by_rows() -> None:
    assert isinstance(labels, TellsUnanswerable)
    texts = ["set to 20\u00b0", "set to 200", "in the hall of the house", "in 7 rooms"]
    encoder = EntitiesEncoder(EncoderParams(max_words=4), ["a"], [], "")
    cells = ['[[7,9,"a"]]', '[[7,9,"a"]]', '[[0,2,"a"],[19,24,"a"]]', '[[3,4,"a"],[5,9,"a"]]']
    assert labels.unanswerable(encoder, cells, texts) == {NOT_WHOLE: 2, NOT_READ: 1}


def test_types_are_the_classes_of_a_row() -> None:
    rows = pl.Series("label", ['[[0,1,"b"],[2,3,"a"],[4,5,"b"]]', "[]"])
    assert labels.classes(rows).to_list() == [["a", "b"], []]
    assert labels.classes(rows.head(0)).dtype == pl.List(pl.String)
    assert types_in(rows) == ["a", "b"]


def test_types_that_look_alike_are_told() -> None:
    [note] = labels.notes({"Room": 3, "room": 1, "song": 2})
    assert note.startswith("1 pairs of types look alike and are types of their own: 'Room' (3 rows) and 'room' (1)")
    assert labels.notes({"room": 3, "song": 2}) == []


@st.composite
def tokens_and_spans(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[Span]]:
    """Tokens with gaps, and spans from one token's begin to another's end, with how many tokens each has."""
    widths = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=12))
    ends = np.cumsum([gap + width for gap, width in widths], dtype=np.int64)
    starts = ends - np.array([width for _, width in widths], dtype=np.int64)
    spans, at = [], 0
    while at < len(widths):
        length = draw(st.integers(1, 3))
        if draw(st.booleans()):
            last = min(at + length, len(widths)) - 1
            spans.append(Span(int(starts[at]), int(ends[last]), draw(st.sampled_from(TYPES))))
        at += length
    return starts, ends, spans


def back(tags: Any, starts: Any, ends: Any) -> list[Span]:
    _, firsts, lasts, types = places(np.asarray(tags)[None])
    return [Span(int(starts[a]), int(ends[b]), TYPES[int(t)]) for a, b, t in zip(firsts, lasts, types, strict=True)]


@given(tokens_and_spans())
@settings(deadline=None)
def test_spans_of_whole_tokens_come_back_from_their_tags(found: Any) -> None:
    starts, ends, spans = found
    assert back(to_tags(spans, starts, ends, IDS), starts, ends) == spans
    assert parse(write_spans(spans)) == spans


@given(tokens_and_spans(), st.data())
@settings(deadline=None)
def test_a_span_that_ends_within_a_token_takes_the_whole_token(found: Any, data: st.DataObject) -> None:
    starts, ends, spans = found
    cut = []
    for span in spans:  # away from its first token's begin and its last token's end, but not off a token
        first, last = int(np.searchsorted(starts, span.start)), int(np.searchsorted(ends, span.end))
        start = data.draw(st.integers(span.start, int(ends[first]) - 1))
        end = data.draw(st.integers(max(int(starts[last]), start) + 1, span.end))
        cut.append(Span(start, end, span.type))
    assert back(to_tags(cut, starts, ends, IDS), starts, ends) == spans


def test_a_token_that_two_spans_touch_is_the_firsts_and_blanks_have_no_tag() -> None:
    starts, ends = np.array([0, 9]), np.array([8, 12])
    touching = [Span(0, 4, "room"), Span(4, 8, "song"), Span(8, 9, "song"), Span(10, 11, "number")]
    assert to_tags(touching, starts, ends, IDS).tolist() == [1 + 2 * IDS["room"], 1 + 2 * IDS["number"]]
    over = [Span(0, 4, "room"), Span(4, 12, "song")]
    assert to_tags(over, starts, ends, IDS).tolist() == [3, 5]
    assert tag_names(TYPES)[:3] == ["O", "B-number", "I-number"]
    assert len(tag_names(TYPES)) == tag_count(TYPES)


def test_targets_follow_the_encoders_tokens() -> None:
    encoder = named.WordEncoder(TYPES, ["two", "minutes"])
    texts = ["wait two minutes", "", "👍 two"]
    encoded = encoder.encode(texts)
    target = labels.encode(encoder, ['[[5,8,"number"]]', "[]", '[[2,5,"number"]]'], texts, encoded)["label"]
    assert isinstance(target, Ragged)
    assert [target.row(i).tolist() for i in range(3)] == [[0, 1, 0], [], [0, 1]]
    assert labels.targets(encoder)["label"].shape == [None]


def test_an_encoder_whose_offsets_are_not_its_tokens_is_refused() -> None:
    class Short(named.WordEncoder):
        def token_offsets(self, values: Any) -> Any:
            return super().token_offsets([value[:5] for value in values])

    encoder = Short(TYPES, [])
    texts = ["one", "one two"]
    with pytest.raises(InvalidData, match="row 1 of a chunk has 2 tokens in 'tokens', but token_offsets gives"):
        labels.encode(encoder, ["[]", "[]"], ["one", "a b c d e"], encoder.encode(["one", "a b"]))
    assert labels.encode(encoder, ["[]"], texts[:1], encoder.encode(texts[:1]))
    encoder.tokens = "other"
    with pytest.raises(InvalidData, match="its feature 'other' is of no variable length"):
        labels.encode(encoder, ["[]"], texts[:1], encoder.encode(texts[:1]))


@given(st.lists(st.tuples(st.integers(), st.integers(), st.text(max_size=3)), max_size=3))
@settings(deadline=None, max_examples=200)
def test_any_json_of_spans_is_read_or_has_a_reason(spans: list[tuple[int, int, str]]) -> None:
    [(label, reason)] = read(json.dumps(spans))
    if reason is None:
        assert label is not None
        assert read(label) == [(label, None)]
