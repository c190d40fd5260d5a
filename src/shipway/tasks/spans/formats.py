"""Files in which others keep texts with spans: a tag a token (CoNLL), and marks within the text.

Each reader takes the lines of a file and its name, goes through them once, and names the line of what it refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shipway.errors import InvalidData
from shipway.tasks.spans.spans import Span

_TAG = re.compile(r"O|([BIESLU])-(\S+)")
_SAME = str.maketrans("LU", "ES")  # BILOU writes last and unit
_MARK = re.compile(r"\[(?P<words>[^\[\]]*)\](?:\((?P<type>[^()]*)\)|(?P<json>\{[^{}]*\}))")
_TAGS = "O, B-<type> or I-<type>, with E- and S- where ends are marked"


class Tagged(NamedTuple):
    """A text and its spans, sorted.

    Attributes:
        part: Of the file in which it stands: the number of the document, or the intent; empty where files have none.
    """

    text: str
    spans: list[Span]
    part: str = ""


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
            sentence. Lines of `-DOCSTART-` and `# newdoc` begin a document; other lines that begin with # and end in no
            tag are skipped.
        name: Of the file.

    Raises:
        InvalidData: a line that is none of these, or a tag that continues nothing where the file's scheme (IOB1, IOB2
            or BIOES, BILOU) has another for that.
    """
    sentence: list[Token] = []
    scheme, documents = _Scheme(name), 0
    for number, line in enumerate(lines, 1):
        columns = line.strip("\r\n ").split("\t") if "\t" in line.strip() else line.split()
        columns = [column.strip() for column in columns]
        is_document = line.startswith(("-DOCSTART-", "# newdoc"))
        if is_document or not any(columns):
            if sentence:
                yield _tagged(sentence, scheme, str(documents))
            sentence, documents = [], documents + is_document
            continue
        match = _TAG.fullmatch(columns[-1])
        if columns[0].startswith("#") and not match:
            continue
        if len(columns) < 2 or not columns[0]:
            raise InvalidData(
                f"{line.strip()[:40]!r}",
                field=f"{name} line {number}",
                given=line.strip()[:40],
                allowed="a token and, behind it, its tag",
            )
        if not match:
            raise InvalidData(
                f"{columns[-1][:40]!r} is no tag", field=f"{name} line {number}", given=columns[-1][:40], allowed=_TAGS
            )
        sentence.append(Token(number, columns[0], (match[1] or "O").translate(_SAME), match[2] or ""))
    if sentence:
        yield _tagged(sentence, scheme, str(documents))


class _Scheme:
    """How a file marks spans, as far as it was read: BIOES where ends are marked, IOB1 where an I begins a span, else
    IOB2. Its spans are the same under each; what a scheme forbids is a mistake of the file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun: dict[
            str, Token
        ] = {}  # B or I -> the file's first token that begins a span with it behind one of another type
        self._has_ends = False

    def check(self, token: Token, before: Token | None, goes_on: bool) -> None:
        """Refuses a token whose tag does not go with those before it.

        Args:
            token: Of a span.
            before: The token in front of it in its sentence.
            goes_on: It goes on with a span that is open.
        """
        self._has_ends |= token.part in "ES"
        if token.part in "BI" and not goes_on and not (before and before.type == token.type):
            self._begun.setdefault(token.part, token)
        stray = token if token.part in "IE" and not goes_on else self._begun.get("I")
        if self._has_ends and stray:
            raise InvalidData(
                f"{_written(stray)} continues no span of {stray.type}",
                field=f"{self._name} line {stray.line}",
                allowed=f"B-{stray.type} at its begin, or S-{stray.type} for one token",
            )
        if len(self._begun) > 1 and not self._has_ends:
            first, second = sorted(self._begun.values())
            raise InvalidData(
                f"{_written(second)} begins a span, but in line {first.line} {_written(first)} does",
                field=f"{self._name} line {second.line}",
                allowed="B- at the begin of every span (IOB2), or between two of one type alone (IOB1)",
            )


def _tagged(sentence: list[Token], scheme: _Scheme, document: str) -> Tagged:
    spans: list[Span] = []
    place, is_open, before = 0, False, None
    for token in sentence:
        start, end = place, place + len(token.text)
        place = end + 1
        if token.part == "O":
            is_open = False
        else:
            goes_on = token.part in "IE" and is_open and spans[-1].type == token.type
            scheme.check(token, before, goes_on)
            spans[len(spans) - goes_on :] = [Span(spans[-1].start if goes_on else start, end, token.type)]
            is_open = token.part in "BI"
        before = token
    return Tagged(" ".join(token.text for token in sentence), spans, document)


def read_marked(lines: Iterable[str], name: str) -> Iterator[Tagged]:
    """Texts whose spans are marked as tools for chatbots do: `[two](number)` or `[two]{"entity": "number"}`.

    Args:
        lines: A text each; empty ones are skipped. Where the first text has `- ` before it, all have. Lines in front of
            the first text or among such a list that begin with # or <!-- are headings; of texts below a heading only
            those below `## intent:NAME` count. Of `(number:2)` the part behind the colon, and of an object all but
            `entity`, is left out. Other brackets stand for themselves.
        name: Of the file.

    Raises:
        InvalidData: a mark without words or type, or a text of a list without `- `.
    """
    is_list: bool | None = None
    intent: str | None = ""
    for number, line in enumerate(map(str.strip, lines), 1):
        where = f"{name} line {number}"
        if not line:
            continue
        if is_list is not False and line.startswith(("#", "<!--")):
            _, found, named = line.partition("intent:")
            intent = (named.strip() if found else None) if line.startswith("#") else intent
            continue
        is_list = line.startswith("- ") if is_list is None else is_list
        if is_list and not line.startswith("- "):
            raise InvalidData(
                f"{line[:40]!r}",
                field=where,
                given=line[:40],
                allowed="'- ' before it, as other texts of the file have it",
            )
        if intent is not None:
            yield unmarked(line.removeprefix("- ").strip() if is_list else line, where, intent)


def _written(token: Token) -> str:
    return f"{token.part}-{token.type}"


def unmarked(line: str, where: str, part: str = "") -> Tagged:
    """One text without its marks; `where` it stands, for messages."""
    parts: list[str] = []
    spans: list[Span] = []
    at = length = 0
    for match in _MARK.finditer(line):
        words, kind = match["words"], match["type"]
        name = _entity(match["json"], where) if kind is None else kind.partition(":")[0].strip()
        if not words.strip() or not name:
            missing = "type" if words.strip() else "words"
            raise InvalidData(
                f"{match[0][:60]!r} has no {missing}", field=where, given=match[0][:60], allowed="[words](type)"
            )
        parts += [line[at : match.start()], words]
        start = length + match.start() - at
        length = start + len(words)
        spans.append(Span(start, length, name))
        at = match.end()
    return Tagged("".join([*parts, line[at:]]), spans, part)


def _entity(document: str, where: str) -> str:
    try:
        found = json.loads(document)["entity"]
    except (ValueError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise InvalidData(
            f"{document[:60]!r} names no type", field=where, given=document[:60], allowed='{"entity": "type"}'
        )
    return found.strip()
