"""Files with spans as rows: what `dataset.format` may name where a recipe's task is `spans`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.errors import InvalidData
from shipway.inputs.base import Format
from shipway.tasks.spans.formats import Tagged, read_conll, read_marked, unmarked
from shipway.tasks.spans.spans import write_spans

if TYPE_CHECKING:
    import polars as pl

ROWS = 10_000  # in a frame
_OPENERS = {".bz2": "bz2", ".gz": "gzip", ".xz": "lzma", ".zst": "zstandard"}  # modules with a function `open`


def conll(path: Path) -> Iterator[pl.DataFrame]:
    """The sentences of a CoNLL file: `text`, `label`, `document` (file and number), `file` (its name)."""
    return _frames(read_conll(_lines(path), f"data: {path.name!r}"), path, "document")


def marked(path: Path) -> Iterator[pl.DataFrame]:
    """The texts of a file with marks in them: `text`, `label`, `intent`, `file`."""
    name = f"data: {path.name!r}"
    is_yaml = path.suffix.lower() in (".yml", ".yaml")
    return _frames(_examples(path, name) if is_yaml else read_marked(_lines(path), name), path, "intent")


FORMATS: Mapping[str, Format] = {
    "conll": Format(
        tuple(f"{end}{packed}" for end in (".conll", ".bio", ".iob", ".iob2") for packed in ("", *_OPENERS)), conll
    ),
    "marked": Format((), marked, (".md", ".yml", ".yaml", ".txt")),  # no ending is theirs alone
}
# Sections of a chatbot's other files, which lie beside the one with its texts.
_OTHER_SECTIONS = ("stories", "rules", "intents", "responses", "slots", "forms", "actions", "pipeline", "policies")


def _lines(path: Path) -> Iterator[str]:
    with import_module(_OPENERS.get(path.suffix.lower(), "builtins")).open(path, "rb") as file:
        for number, line in enumerate(io.BufferedReader(file), 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise InvalidData(
                    f"{path.name!r} line {number} is not UTF-8 (byte 0x{line[error.start]:02x})",
                    field="data",
                    given=path.name,
                    fix="convert the file, for example iconv -f WINDOWS-1252 -t UTF-8",
                ) from None
            if number == 1 and "\r" in text.rstrip("\r\n"):
                raise InvalidData(
                    f"{path.name!r} has the line ends of old Macs (CR alone)",
                    field="data",
                    given=path.name,
                    fix=f"convert it: tr '\\r' '\\n' < {path.name} > lf-{path.name}",
                )
            yield text.removeprefix("\ufeff") if number == 1 else text


def _frames(sentences: Iterable[Tagged], path: Path, part: str) -> Iterator[pl.DataFrame]:
    import polars as pl

    file = path.name.partition(".")[0]
    rest = iter(sentences)
    while rows := list(islice(rest, ROWS)):
        columns: dict[str, Any] = {
            "text": [row.text for row in rows],
            "label": [write_spans(row.spans) for row in rows],
            part: [f"{file} {row.part}" if part == "document" else row.part for row in rows],
        }
        yield pl.DataFrame({**columns, "file": [file] * len(rows)}, schema=dict.fromkeys([*columns, "file"], pl.String))


def _examples(path: Path, name: str) -> Iterator[Tagged]:
    """The examples of a chatbot's YAML, `nlu: [{intent: ..., examples: "- ..."}]`; its other sections have no spans."""
    from shipway.yaml_text import load_yaml

    document = load_yaml("".join(_lines(path)), name)
    sections = document.get("nlu") if isinstance(document, dict) else None
    if sections is None and isinstance(document, dict) and any(key in document for key in _OTHER_SECTIONS):
        return
    if not isinstance(sections, list):
        raise InvalidData("no list 'nlu' in it", field=name, allowed="nlu: [{intent: ..., examples: ...}]")
    for section in sections:
        intent, examples = (section.get(key) if isinstance(section, dict) else None for key in ("intent", "examples"))
        if intent is None:
            continue
        for text in _texts(examples, intent, name):
            yield unmarked(text, f"{name} intent {intent!r}", str(intent))


def _texts(examples: Any, intent: object, name: str) -> Iterator[str]:
    """Those of a text with `- ` before each, or of a list of objects with `text`."""
    if isinstance(examples, str):
        for line in filter(None, map(str.strip, examples.splitlines())):
            yield line.removeprefix("-").strip()
        return
    items = examples if isinstance(examples, list) else []
    texts: list[Any] = [item.get("text") if isinstance(item, dict) else item for item in items]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidData(
            f"intent {intent!r} has no text of examples", field=name, given=intent, allowed="examples: | and '- ' lines"
        )
    yield from (text.strip().removeprefix("- ").strip() for text in texts)
