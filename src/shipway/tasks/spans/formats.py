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

_TAG = re.compile(r"O|([BIESLUMW])-(\S+)")
_SAME = str.maketrans("LUMW", "ESIS")  # BILOU writes last and unit; BMES middle, BMEWO whole
_BLANKS = re.compile(" +")  # no other white space, which may stand within a token: 10 000 with a narrow one
_MARK = re.compile(
    r"\[(?P<words>[^\[\]]*)\](?:\((?P<type>[^()]*)\)|(?P<json>\{[^{}]*\})|\[(?P<several>\s*\{[^\[\]]*)\])"
)
_COMMENT = re.compile(r"#\s*[\w.-]+\s*=")  # of CoNLL-U: # text = O
_BULLET = re.compile(r"[-*+] ")
_TAGS = "O, B-<type> or I-<type>, with E- and S- where ends are marked"
_LONGEST = 2_000  # tokens of a file without an empty line: hardly one sentence


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
        lines: A token each, its columns, as many in each line, divided by tabs or blanks: the token first, its tag
            last; an empty line ends a sentence. Lines of `-DOCSTART-` and `# newdoc` begin a document; other lines that
            begin with # and end in no tag are skipped.
        name: Of the file.

    Raises:
        InvalidData: a line that is none of these, a tag that continues nothing where the file's scheme (IOB1, IOB2 or
            BIOES, BILOU, BMES) has another for that, or thousands of lines without an empty one.
    """
    sentence: list[Token] = []
    scheme, documents, width, has_ended = _Scheme(name), 0, 0, False
    for number, line in enumerate(lines, 1):
        is_document = line.startswith(("-DOCSTART-", "# newdoc"))
        if is_document or not line.strip():
            if sentence:
                yield _tagged(sentence, scheme, str(documents))
            has_ended |= bool(sentence)
            sentence, documents = [], documents + is_document
            continue
        columns = _columns(line)
        match = _TAG.fullmatch(columns[-1])
        if columns[0].startswith("#") and (not match or _COMMENT.match(line)):
            continue
        width = width or len(columns)
        _check_line(columns, width, bool(match), line, f"{name} line {number}")
        assert match is not None
        sentence.append(Token(number, columns[0], (match[1] or "O").translate(_SAME), match[2] or ""))
        if len(sentence) == _LONGEST and not has_ended:
            raise InvalidData(
                f"no empty line in its first {number:,} lines", field=name, allowed="one behind each sentence"
            )
    if sentence:
        yield _tagged(sentence, scheme, str(documents))


def _columns(line: str) -> list[str]:
    plain = line.strip("\r\n ")
    return [column.strip(" ") for column in (plain.split("\t") if "\t" in plain.strip() else _BLANKS.split(plain))]


def _check_line(columns: list[str], width: int, has_tag: bool, line: str, where: str) -> None:
    """Refuses a line that is not a token, other columns and a tag.

    Args:
        columns: Of the line.
        width: Columns of the file's first token.
        has_tag: Its last column is one.
        line: As it stands there.
        where: For messages.
    """
    given = line.strip()[:40]
    if len(columns) < 2 or not columns[0]:
        raise InvalidData(f"{given!r}", field=where, given=given, allowed="a token and, behind it, its tag")
    if not has_tag:
        raise InvalidData(f"{columns[-1][:40]!r} is no tag", field=where, given=columns[-1][:40], allowed=_TAGS)
    if len(columns) != width:
        raise InvalidData(
            f"{given!r} has {len(columns)} columns, the file's first token {width}",
            field=where,
            given=given,
            allowed="as many in each line, with tabs between them where a token holds blanks",
        )


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
        lines: A text each; empty ones are skipped. Where the first text has `- ` (or `* `, `+ `) before it, all have.
            Lines in front of the first text or among such a list that begin with # are headings, and what stands from
            <!-- to --> is left out; of texts below a heading only those below `## intent:NAME` count. Of `(number:2)`
            the part behind the colon, and of an object all but `entity`, is left out. Other brackets stand for
            themselves.
        name: Of the file.

    Raises:
        InvalidData: a mark without words or type, or a text of a list without `- `.
    """
    is_list: bool | None = None
    intent: str | None = ""
    in_comment = False
    for number, line in enumerate(map(str.strip, lines), 1):
        where = f"{name} line {number}"
        if not line:
            continue
        if in_comment or (is_list is not False and line.startswith("<!--")):
            in_comment = "-->" not in line
            continue
        if is_list is not False and line.startswith("#"):
            _, separator, named = line.partition("intent:")
            intent = named.strip() if separator else None
            continue
        bullet = _BULLET.match(line)
        is_list = bullet is not None if is_list is None else is_list
        if is_list and not bullet:
            raise InvalidData(
                f"{line[:40]!r}",
                field=where,
                given=line[:40],
                allowed="'- ' before it, as other texts of the file have it",
            )
        if intent is not None:
            yield unmarked(line[2:].strip() if is_list else line, where, intent)


def _written(token: Token) -> str:
    return f"{token.part}-{token.type}"


def unmarked(line: str, where: str, part: str = "") -> Tagged:
    """One text without its marks; `where` it stands, for messages."""
    parts: list[str] = []
    spans: list[Span] = []
    at = length = 0
    for match in _MARK.finditer(line):
        words, kind = match["words"], match["type"]
        of_object = match["json"] or match["several"]
        name = _entity(of_object, where) if kind is None else kind.partition(":")[0].strip()
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
    """The type that an object names, or the only one of several objects."""
    try:
        objects = json.loads(f"[{document}]")
        entity = objects[0]["entity"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        objects, entity = [], None
    if len(objects) > 1:
        raise InvalidData(
            f"{document[:60]!r} names {len(objects)} types for the same words",
            field=where,
            given=document[:60],
            allowed="one: each character belongs to one span at most",
        )
    if not isinstance(entity, str):
        raise InvalidData(
            f"{document[:60]!r} names no type", field=where, given=document[:60], allowed='{"entity": "type"}'
        )
    return entity.strip()
