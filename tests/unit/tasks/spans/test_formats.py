"""Files of others with spans: CoNLL's tags, marks of chatbots' tools, JSON lines."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import InvalidData
from shipway.tasks.spans.formats import Tagged, _sentences, read_conll, read_json_lines, read_markup, scheme_of
from shipway.tasks.spans.spans import Span

WORDS = ["two", "Zürich", "e\u0301t\u00e9", "👩‍👧", "in", "the", "#", "(a)"]
TYPES = ["PER", "LOC", "B-7"]


def conll(text: str) -> list[Tagged]:
    return list(read_conll(text.splitlines(), "a.conll"))


def scheme(text: str) -> str:
    return scheme_of(_sentences(text.splitlines(), "a.conll"), "a.conll")


@st.composite
def sentences(draw: st.DrawFn) -> list[list[tuple[str, int, str]]]:
    """Sentences as (word, 0 begins a span, 1 goes on, -1 outside, type)."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        sentence: list[tuple[str, int, str]] = []
        for word in draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8)):
            can_go_on = bool(sentence) and sentence[-1][1] >= 0
            part = draw(st.sampled_from([-1, 0, 1] if can_go_on else [-1, 0]))
            kind = "" if part < 0 else sentence[-1][2] if part == 1 else draw(st.sampled_from(TYPES))
            sentence.append((word, part, kind))
        found.append(sentence)
    return found


def expected(sentence: list[tuple[str, int, str]]) -> Tagged:
    spans: list[Span] = []
    place = 0
    for word, part, kind in sentence:
        start, place = place, place + len(word) + 1
        if part == 0:
            spans.append(Span(start, start + len(word), kind))
        if part == 1:
            spans[-1] = Span(spans[-1].start, start + len(word), kind)
    return Tagged(" ".join(word for word, _, _ in sentence), spans)


def tags(sentence: list[tuple[str, int, str]], scheme: str) -> list[str]:
    written = []
    for i, (_, part, kind) in enumerate(sentence):
        goes_on = i + 1 < len(sentence) and sentence[i + 1][1] == 1
        letter = "BI"[part]
        if scheme == "IOB1" and part == 0 and not (i and sentence[i - 1][2] == kind):
            letter = "I"
        if scheme in ("BIOES", "BILOU") and not goes_on:
            letter = ("SE" if scheme == "BIOES" else "UL")[part]
        written.append("O" if part < 0 else f"{letter}-{kind}")
    return written


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@given(sentences(), st.sampled_from(["\t", " ", "\tNN\t", " NN I-NP "]))
@settings(deadline=None)
def test_a_file_of_any_scheme_gives_the_spans_that_were_written(scheme: str, found: Any, between: str) -> None:
    lines = ["-DOCSTART- -X- O O", "", "# id 7 domain=test"]
    for sentence in found:
        pairs = zip(sentence, tags(sentence, scheme), strict=True)
        lines += [*(f"{word}{between}{tag}" for (word, _, _), tag in pairs), ""]
    assert list(read_conll((f"{line}\r\n" for line in lines), "a")) == [expected(sentence) for sentence in found]


def test_the_scheme_is_what_the_files_tags_say() -> None:
    assert scheme("a I-X\nb I-X\nc B-X\n") == "IOB1"
    assert scheme("a B-X\nb I-X\n\nc O\n") == "IOB2"
    assert scheme("a B-X\nb L-X\n") == "BIOES"
    assert scheme("a O\n") == "IOB2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a O\nb\n", r"a\.conll line 2: 'b'; expected a token and, behind it, its tag"),
        ("a O\n\nb X-PER\n", r"a\.conll line 3: 'X-PER' is no tag; expected O, B-<type> or I-<type>, with E- and S-"),
        ("a B-\n", "line 1: 'B-' is no tag"),
        ("a B-X\nb O\nc I-X\n", r"line 3: I-X begins a span, but in line 1 B-X does; expected B- at the begin"),
        ("a I-X\n\nc B-X\n", r"line 3: B-X begins a span, but in line 1 I-X does"),
        ("a S-X\nb O\nc I-X\n", r"line 3: I-X continues no span of X; expected B-X at its begin, or S-X for one"),
        ("a B-X\nb E-Y\n", "line 2: E-Y continues no span of Y"),
        ("a S-X\nb E-X\n", "line 2: E-X continues no span of X"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        conll(text)


plain = st.text(
    st.characters(exclude_characters="[](){}\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"])
)


@given(st.lists(st.tuples(plain, plain.filter(str.strip), st.sampled_from(TYPES), st.booleans()), max_size=4), plain)
@settings(deadline=None)
def test_marks_within_a_text_come_back_as_spans(parts: list[tuple[str, str, str, bool]], rest: str) -> None:
    written, text, spans = "x", "x", []
    for before, words, kind, is_object in parts:
        mark = json.dumps({"entity": kind, "role": "to"}) if is_object else f"({kind}:{words})"
        written += f"{before}[{words}]{mark}"
        spans.append(Span(len(text) + len(before), len(text) + len(before) + len(words), kind))
        text += before + words
    [found] = read_markup([written + rest + "y"], "nlu.md")
    assert found == Tagged(text + rest + "y", spans)


def test_brackets_that_mark_nothing_stand_for_themselves() -> None:
    lines = ["- see [1] and (a), [two](number) 👍[b", "", "-  [x] (y)"]
    assert list(read_markup(lines, "nlu.md")) == [
        Tagged("see [1] and (a), two 👍[b", [Span(17, 20, "number")]),
        Tagged("[x] (y)", []),
    ]
    assert list(read_markup(["- a", "b"], "nlu.md")) == [Tagged("- a", []), Tagged("b", [])]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a [](number)", r"nlu\.md line 2: '\[\]\(number\)' has no words; expected \[words\]\(type\)"),
        ("a [two]()", r"line 2: '\[two\]\(\)' has no type"),
        ("a [two](:2)", "has no type"),
        ('a [two]{"entty": "number"}', r"line 2: '\{\"entty\": \"number\"\}' names no type; expected"),
        ("a [two]{entity: number}", "names no type"),
        ('a [two]{"entity": 7}', "names no type"),
        ('a [two]{"entity": ' + "[" * 50_000 + "}", "names no type"),
    ],
)
def test_a_wrong_mark_is_named_with_its_line(line: str, says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        list(read_markup(["fine", line], "nlu.md"))


def test_json_lines_of_several_tools_are_read() -> None:
    rows = [
        {"text": "in 👩‍👧 two", "spans": [[7, 10, "number"]]},
        {"text": "in two", "entities": [{"start": 3, "end": 6, "value": "2", "entity": "number"}], "intent": "wait"},
        {"text": "in two", "label": [[3, 6, "number"]], "id": 4},
        {"text": "in two", "spans": [{"start": 3, "end": 6, "label": "number"}], "label": "an intent"},
        {"text": "in two", "labels": []},
    ]
    found = list(read_json_lines([*map(json.dumps, rows), "", "\n"], "a.jsonl"))
    words = [[text[span.start : span.end] for span in spans] for text, spans in found]
    assert words == [["two"], ["two"], ["two"], ["two"], []]


@given(st.text(min_size=1), st.integers(0, 2**32))
@settings(deadline=None)
def test_json_lines_come_back_as_written(text: str, seed: int) -> None:
    dice = random.Random(seed)
    cuts = sorted({dice.randint(0, len(text)) for _ in range(6)})
    spans = [Span(a, b, dice.choice(TYPES)) for a, b in pairwise(cuts) if dice.random() < 0.6]
    line = json.dumps({"text": text, "spans": dice.sample(spans, len(spans))})
    assert list(read_json_lines([line], "a")) == [Tagged(text, spans)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", r"a\.jsonl line 2: not JSON \(.*\); expected an object with text and spans"),
        ("[]", "line 2: no object with a text"),
        ('{"spans": []}', "no object with a text"),
        ('{"text": "a"}', "lists of spans: none; expected exactly one of spans, entities, labels, label"),
        ('{"text": "a", "spans": [], "entities": []}', "lists of spans: spans and entities; expected exactly one"),
        ('{"text": "a", "spans": [[0, 2, "x"]]}', "line 2: a span ends behind the text of 1 characters"),
        ('{"text": "ab", "spans": [[0, 2, "x"], [1, 2, "y"]]}', "two spans overlap"),
        ('{"text": "ab", "spans": [{"start": 0, "end": 1}]}', "a span is not"),
        ('{"text": "\\ud800", "spans": []}', "half of a surrogate pair"),
    ],
)
def test_a_wrong_json_line_is_named_with_what_is_allowed(line: str, says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        list(read_json_lines(['{"text": "", "spans": []}', line], "a.jsonl"))
