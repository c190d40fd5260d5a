"""YAML and JSON as people write them: read safely, and no key given twice.

PyYAML and json both take the last of two equal keys: who edits the first one changes nothing, and is not told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from shipway.errors import InvalidSpec

MOST_DEPTH = 100
MOST_VALUES = 1_000_000


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a mapping with one key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in lines:
                raise _Twice(key, lines[key], line)
            if isinstance(key, Hashable):
                lines[key] = line
        return super().construct_mapping(node, deep=deep)


# Numbers as JSON and YAML 1.2 have them; PyYAML reads `1e-3` as text, and a learning rate would be one.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _Twice(Exception):
    def __init__(self, key: Hashable, first: int, second: int) -> None:
        super().__init__(
            f"the key {key!r} stands twice, in line {first} and in line {second}"
            if first != second
            else f"the key {key!r} stands twice, in line {first}"
        )


def load_yaml(text: str, where: str) -> Any:
    """The document in `text`; None for an empty one.

    Args:
        text: YAML or JSON.
        where: Beginning of messages, `--params-file my.yaml`.

    Raises:
        InvalidSpec: neither YAML nor JSON, or a key that stands twice.
    """
    documents = load_all_yaml(text, where)
    if len(documents) > 1:
        raise InvalidSpec(field=where, given=len(documents), allowed="one document", fix="they are divided by '---'")
    return documents[0] if documents else None


def load_all_yaml(text: str, where: str) -> list[Any]:
    """Every document in `text`; see `load_yaml`."""
    try:
        return [check_tree(document, where) for document in yaml.load_all(text, Loader=_Loader)]
    except _Twice as error:
        raise InvalidSpec(error, field=where, fix="leave one of them") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, a number too long
        raise InvalidSpec(f"neither YAML nor JSON: {_said(error)}", field=where) from error
    except RecursionError:
        raise InvalidSpec("nested too deeply", field=where) from None


def check_tree(document: Any, where: str) -> Any:
    """The document, if it is a tree of a size that can be walked.

    Raises:
        InvalidSpec: an anchor names what it stands in, or a few lines of anchors stand for millions of values.
    """
    values = 0
    pending = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        values += 1
        if depth > MOST_DEPTH or values > MOST_VALUES:
            raise InvalidSpec(
                f"nested more than {MOST_DEPTH} deep, or more than {MOST_VALUES} values; does an "
                "anchor (&) stand in what it names?",
                field=where,
            )
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        pending.extend((each, depth + 1) for each in inner)
    return document


def load_json(text: str, where: str) -> Any:
    """JSON without a key that stands twice.

    Raises:
        InvalidSpec: a key stands twice, or it is nested too deeply.
        ValueError: not JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidSpec(f"the key {twice!r} stands twice", field=where, given=twice, fix="leave one of them")
        return mapping

    try:
        return check_tree(json.loads(text, object_pairs_hook=unique), where)
    except RecursionError:
        raise InvalidSpec("nested too deeply", field=where) from None


def _said(error: Exception) -> str:
    """What is wrong and where, without the line itself: a secret may stand there."""
    if isinstance(error, yaml.MarkedYAMLError):
        marks = [(error.context, error.context_mark), (error.problem, error.problem_mark)]
        told = [f"{what}, line {mark.line + 1}, column {mark.column + 1}" for what, mark in marks if what and mark]
        return "; ".join(told) or "it cannot be read"
    return " ".join(str(error).split())
