"""Files of others with spans: CoNLL's tags, and marks of chatbots' tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.errors import InvalidData, UserError
from shipway.tasks.spans import files
from shipway.tasks.spans.formats import Tagged, read_conll, read_marked
from shipway.tasks.spans.spans import Span

WORDS = ["two", "Zürich", "e\u0301t\u00e9", "👩‍👧", "in", "the", "#", "(a)"]
TYPES = ["PER", "LOC", "B-7"]
ENDED = {"BIOES": "BISE", "BILOU": "BIUL", "BMES": "BMSE", "BMEWO": "BMWE"}  # begin, within; then, where it ends there


def conll(text: str) -> list[Tagged]:
    return list(read_conll(text.splitlines(), "a.conll"))


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
    return Tagged(" ".join(word for word, _, _ in sentence), spans, "1")


def tags(sentence: list[tuple[str, int, str]], scheme: str) -> list[str]:
    written = []
    for i, (_, part, kind) in enumerate(sentence):
        goes_on = i + 1 < len(sentence) and sentence[i + 1][1] == 1
        letter = "BI"[part]
        if scheme == "IOB1" and part == 0 and not (i and sentence[i - 1][2] == kind):
            letter = "I"
        if scheme in ENDED:
            letter = ENDED[scheme][part + 2 * (not goes_on)]
        written.append("O" if part < 0 else f"{letter}-{kind}")
    return written


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", *ENDED])
@given(sentences(), st.sampled_from(["\t", " ", "\tNN\t", " NN I-NP "]))
@settings(deadline=None)
def test_a_file_of_any_scheme_gives_the_spans_that_were_written(scheme: str, found: Any, between: str) -> None:
    lines = ["-DOCSTART- -X- O O", "", "# id 7 domain=test"]
    for sentence in found:
        pairs = zip(sentence, tags(sentence, scheme), strict=True)
        lines += [*(f"{word}{between}{tag}" for (word, _, _), tag in pairs), ""]
    assert list(read_conll((f"{line}\r\n" for line in lines), "a")) == [expected(sentence) for sentence in found]


def test_documents_are_numbered_and_empty_lines_make_no_sentence() -> None:
    found = conll("\n\n# newdoc id = a\n# text = x\nx O\n\n\n-DOCSTART- O\n\ny B-X\n\nz O\n")
    assert [(row.text, row.part) for row in found] == [("x", "1"), ("y", "2"), ("z", "2")]
    assert [row.part for row in conll("x O\n")] == ["0"]


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
        ("a O\nb I-X\n\nc S-X\n", "line 2: I-X continues no span of X"),
        ("a B-X\n\nNew York I-X\n", "line 3: 'New York I-X' has 3 columns, the file's first token 2; expected as many"),
        ("a O\n" * 3000, "a.conll: no empty line in its first 2,000 lines; expected one behind each sentence"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        conll(text)


def test_only_tabs_and_plain_blanks_divide_columns() -> None:
    narrow = "10\u202f000 B-N\nUlm\u00a0Ost\tB-N"
    assert [row.text for row in conll(narrow.split("\n")[0])] == ["10\u202f000"]
    assert conll(narrow.split("\n")[1]) == [Tagged("Ulm\u00a0Ost", [Span(0, 7, "N")], "0")]


def test_a_comment_that_ends_as_a_tag_does_is_no_token() -> None:
    assert conll("# text = O\na NN O\n# B-X O\n") == [Tagged("a #", [], "0")]


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
    [found] = read_marked([written + rest + "y"], "nlu.md")
    assert found == Tagged(text + rest + "y", spans)


def test_brackets_that_mark_nothing_stand_for_themselves() -> None:
    lines = ["- see [1] and (a), [two](number) 👍[b", "", "-  [x] (y)"]
    assert list(read_marked(lines, "nlu.md")) == [
        Tagged("see [1] and (a), two 👍[b", [Span(17, 20, "number")]),
        Tagged("[x] (y)", []),
    ]
    assert list(read_marked(["a", "# b", "- c"], "nlu.md")) == [Tagged(text, []) for text in ("a", "# b", "- c")]


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
        list(read_marked(["fine", line], "nlu.md"))


def test_headings_of_a_list_say_which_intent_and_what_is_no_text() -> None:
    lines = [
        "## intent:wait",
        "<!-- of 2019 -->",
        "- [two](number)",
        "",
        "## lookup:room",
        "- hall",
        "# intent: go",
        "- a",
    ]
    assert list(read_marked(lines, "nlu.md")) == [Tagged("two", [Span(0, 3, "number")], "wait"), Tagged("a", [], "go")]
    with pytest.raises(InvalidData, match=r"nlu\.md line 2: 'b'; expected '- ' before it, as other texts"):
        list(read_marked(["- a", "b"], "nlu.md"))


@pytest.mark.parametrize("bullet", ["-", "*", "+"])
def test_a_list_may_have_any_bullet_and_a_comment_any_length(bullet: str) -> None:
    lines = [
        "<!-- ours,",
        "## intent: no",
        "- none -->",
        "## intent:go",
        f"{bullet} [two](number)",
        "## synonym:x",
        f"{bullet} y",
    ]
    assert list(read_marked(lines, "nlu.md")) == [Tagged("two", [Span(0, 3, "number")], "go")]


def test_a_list_of_objects_names_one_type() -> None:
    [found] = read_marked(['a [two][{"entity": "number", "role": "n"}] b'], "nlu.md")
    assert found == Tagged("a two b", [Span(2, 5, "number")])
    with pytest.raises(InvalidData, match="names 2 types for the same words; expected one: each character belongs"):
        list(read_marked(['a [two][{"entity": "number"}, {"entity": "room"}] b'], "nlu.md"))


def rows(path: Path, read: Any) -> list[tuple[str, ...]]:
    return [row for frame in read(path) for row in frame.iter_rows()]


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_conll_files_are_rows_with_document_and_file(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    monkeypatch.setattr(files, "ROWS", 2)
    path = tmp_path / f"dev.conll{ending}"
    module = import_module(files._OPENERS.get(ending, "builtins"))
    with module.open(path, "wb") as file:
        file.write("\ufeff-DOCSTART- O\n\nin O\nUlm B-LOC\n\na O\n\nb O\n".encode())
    assert path.name.endswith(files.FORMATS["conll"].suffixes)
    expected = [("in Ulm", '[[3,6,"LOC"]]', "dev 1", "dev"), ("a", "[]", "dev 1", "dev"), ("b", "[]", "dev 1", "dev")]
    assert rows(path, files.conll) == expected
    assert [len(frame) for frame in files.conll(path)] == [2, 1]


def test_lines_that_end_in_cr_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_bytes(b"in O\rUlm B-LOC\r")
    with pytest.raises(InvalidData, match=r"'a\.conll' has the line ends of old Macs \(CR alone\); convert it: tr "):
        rows(tmp_path / "a.conll", files.conll)


def test_examples_may_be_a_list_and_a_chatbots_other_files_have_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "nlu.yml"
    path.write_text("nlu:\n- intent: a\n  examples:\n  - text: |\n      [two](n) b\n    metadata: {x: y}\n  - c\n")
    assert rows(path, files.marked) == [("two b", '[[0,3,"n"]]', "a", "nlu"), ("c", "[]", "a", "nlu")]
    path.write_text("version: '3.1'\nstories: []\n")
    assert rows(path, files.marked) == []


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes("in O\nKöln B-LOC\n".encode("latin-1"))
    with pytest.raises(InvalidData, match=r"data: 'a\.conll' line 2 is not UTF-8 \(byte 0xf6\); convert the file"):
        rows(path, files.conll)


def test_the_yaml_of_a_chatbot_gives_its_examples_with_their_intents(tmp_path: Path) -> None:
    path = tmp_path / "nlu.yml"
    path.write_text("""version: "3.1"
nlu:
- intent: wait
  examples: |
    - wait [two]{"entity": "number", "role": "n"} minutes
    - wait
- synonym: lamp
  examples: |
    - light
- intent: go
  examples: |
    - to the [hall](room)
""")
    assert rows(path, files.marked) == [
        ("wait two minutes", '[[5,8,"number"]]', "wait", "nlu"),
        ("wait", "[]", "wait", "nlu"),
        ("to the hall", '[[7,11,"room"]]', "go", "nlu"),
    ]
    for text, says in [
        ("a: [", r"data: 'nlu\.yml'"),
        ("other: []", "no list 'nlu' in it; expected nlu: "),
        ("nlu: [{intent: a}]", "intent 'a' has no text of examples"),
        ("nlu: [{intent: a, examples: [{metadata: b}]}]", "intent 'a' has no text of examples"),
        ('nlu: [{intent: a, examples: "- [x]()"}]', r"intent 'a': '\[x\]\(\)' has no type"),
    ]:
        path.write_text(text)
        with pytest.raises(UserError, match=says):
            rows(path, files.marked)
