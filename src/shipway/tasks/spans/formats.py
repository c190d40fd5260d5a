"""Files in which others keep spans, as (text, spans): a tag a token, marks within the text, JSON lines.

Each reader takes the lines of a file and its name, and names the line of what it refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from shipway.errors import InvalidData
from shipway.tasks.spans.spans import BEHIND, BadSpans, Span, checked, read_spans

Scheme = Literal["IOB1", "IOB2", "BIOES"]

SPANS = ("spans", "entities", "labels", "label")  # names of a line's spans in JSON lines
TYPES = ("type", "label", "entity")  # names of a span's type there
_TAG = re.compile(r"O|([BIESLU])-(\S+)")
_SAME = str.maketrans("LU", "ES")  # BILOU writes last and unit
_MARK = re.compile(r"\[(?P<words>[^\[\]]*)\](?:\((?P<type>[^()]*)\)|(?P<json>\{[^{}]*\}))")
_HALF = re.compile("[\ud800-\udfff]")
_TAGS = "O, B-<type> or I-<type>, with E- and S- where ends are marked"


class Tagged(NamedTuple):
    """A text and its spans, sorted."""

    text: str
    spans: list[Span]


class Token(NamedTuple):
    """A line of a CoNLL file; `part` is O, B, I, E or S, `type` empty for O."""

    line: int
    text: str
    part: str
    type: str


def read_conll(lines: Iterable[str], name: str) -> Iterator[Tagged]:
    """The sentences of a CoNLL file, each its tokens with one blank between.

    Args:
        lines: A token each, its columns divided by tabs or blanks: the token first, its tag last; an empty line ends a
            sentence. Lines of `-DOCSTART-`, and those that begin with # and end in no tag, are skipped.
        name: Of the file.

    Raises:
        InvalidData: a line that is none of these, or a tag that continues nothing where the file's scheme (IOB1, IOB2
            or BIOES, BILOU) has another for that.
    """
    sentences = _sentences(lines, name)
    scheme = scheme_of(sentences, name)
    for sentence in sentences:
        yield _tagged(sentence, scheme, name)


def scheme_of(sentences: Iterable[list[Token]], name: str) -> Scheme:
    """How spans are marked: BIOES where an end is marked anywhere, IOB1 where an I begins a span, else IOB2.

    Raises:
        InvalidData: some spans can only be IOB1 and others only IOB2.
    """
    begun: dict[Scheme, Token] = {}
    for sentence in sentences:
        before = None
        for token in sentence:
            if token.part in "ES":
                return "BIOES"
            goes_on = before is not None and before.type == token.type
            if token.part == "I" and not goes_on:
                begun.setdefault("IOB1", token)
            if token.part == "B" and not goes_on:
                begun.setdefault("IOB2", token)
            before = token
    if len(begun) > 1:
        first, second = sorted(begun.values())
        raise InvalidData(
            f"{name} line {second.line}: {_written(second)} begins a span, but in line {first.line} "
            f"{_written(first)} does; expected B- at the begin of every span (IOB2), or between two of one type alone "
            "(IOB1)"
        )
    return "IOB1" if "IOB1" in begun else "IOB2"


def read_markup(lines: Iterable[str], name: str) -> Iterator[Tagged]:
    """Texts whose spans are marked as tools for chatbots do: `[two](number)` or `[two]{"entity": "number"}`.

    Args:
        lines: A text each; empty ones are skipped, as is `- ` before each where all have it. Of `(number:2)` the part
            behind the colon, and of an object all but `entity`, is left out. Other brackets stand for themselves.
        name: Of the file.

    Raises:
        InvalidData: a mark without words or type.
    """
    kept = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    is_list = all(line.startswith("- ") for _, line in kept)
    for number, line in kept:
        yield _unmarked(line.removeprefix("- ").strip() if is_list else line, f"{name} line {number}")


def read_json_lines(lines: Iterable[str], name: str) -> Iterator[Tagged]:
    """Objects with `text` and one of `SPANS`: a list of spans as labels hold them, or with a type named as in `TYPES`.

    Places are code points of the text, the end exclusive. Empty lines are skipped.

    Raises:
        InvalidData: a line that is none, or spans that the text cannot have.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _from_json(line, f"{name} line {number}")


def _sentences(lines: Iterable[str], name: str) -> list[list[Token]]:
    found: list[list[Token]] = [[]]
    for number, line in enumerate(lines, 1):
        columns = line.strip("\r\n ").split("\t") if "\t" in line.strip() else line.split()
        columns = [column.strip() for column in columns]
        if not columns or columns == [""]:
            found.append([])
            continue
        match = _TAG.fullmatch(columns[-1])
        if columns[0] == "-DOCSTART-" or (columns[0].startswith("#") and not match):
            continue
        if len(columns) < 2 or not columns[0]:
            raise InvalidData(f"{name} line {number}: {line.strip()[:40]!r}; expected a token and, behind it, its tag")
        if not match:
            raise InvalidData(f"{name} line {number}: {columns[-1][:40]!r} is no tag; expected {_TAGS}")
        part = (match[1] or "O").translate(_SAME)
        found[-1].append(Token(number, columns[0], part, match[2] or ""))
    return [sentence for sentence in found if sentence]


def _tagged(sentence: list[Token], scheme: Scheme, name: str) -> Tagged:
    spans: list[Span] = []
    place, is_open = 0, False
    for token in sentence:
        start, end = place, place + len(token.text)
        place = end + 1
        if token.part == "O":
            is_open = False
            continue
        goes_on = token.part in "IE" and is_open and spans[-1].type == token.type
        if scheme == "BIOES" and token.part in "IE" and not goes_on:
            raise InvalidData(
                f"{name} line {token.line}: {_written(token)} continues no span of {token.type}; expected "
                f"B-{token.type} at its begin, or S-{token.type} for one token"
            )
        spans[len(spans) - goes_on :] = [Span(spans[-1].start if goes_on else start, end, token.type)]
        is_open = token.part in "BI"
    return Tagged(" ".join(token.text for token in sentence), spans)


def _written(token: Token) -> str:
    return f"{token.part}-{token.type}"


def _unmarked(line: str, where: str) -> Tagged:
    parts: list[str] = []
    spans: list[Span] = []
    at = length = 0
    for match in _MARK.finditer(line):
        words, kind = match["words"], match["type"]
        name = _entity(match["json"], where) if kind is None else kind.partition(":")[0].strip()
        if not words.strip() or not name:
            missing = "type" if words.strip() else "words"
            raise InvalidData(f"{where}: {match[0][:60]!r} has no {missing}; expected [words](type)")
        parts += [line[at : match.start()], words]
        start = length + match.start() - at
        length = start + len(words)
        spans.append(Span(start, length, name))
        at = match.end()
    return Tagged("".join([*parts, line[at:]]), spans)


def _entity(document: str, where: str) -> str:
    try:
        found = json.loads(document)["entity"]
    except (ValueError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise InvalidData(f'{where}: {document[:60]!r} names no type; expected {{"entity": "type"}}')
    return found.strip()


def _from_json(line: str, where: str) -> Tagged:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"{where}: not JSON ({error}); expected an object with text and spans") from None
    if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
        raise InvalidData(f"{where}: no object with a text; expected an object with text and spans")
    if _HALF.search(row["text"]):
        raise InvalidData(f"{where}: its text holds half of a surrogate pair; write it as UTF-8")
    given = [name for name in SPANS if isinstance(row.get(name), list)]
    if len(given) != 1:
        told = " and ".join(given) or "none"
        raise InvalidData(f"{where}: lists of spans: {told}; expected exactly one of {', '.join(SPANS)}")
    try:
        spans = read_spans(json.dumps([_as_list(item) for item in row[given[0]]]))
        if any(span.end > len(row["text"]) for span in checked(spans)):
            raise BadSpans(f"{BEHIND} of {len(row['text'])} characters")
    except BadSpans as error:
        raise InvalidData(f"{where}: {error}") from None
    return Tagged(row["text"], spans)


def _as_list(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    return [item.get("start"), item.get("end"), next((item[name] for name in TYPES if name in item), None)]
