"""Parameters of a pipeline, turned into the types that it declares."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from shipway.errors import InvalidSpec
from shipway.yaml_text import load_json

_READERS: dict[str, Callable[[str], Any]] = {
    "Integer": int,
    "Float": float,
    "Boolean": lambda text: {"true": True, "false": False}[text.lower()],
}
_TYPES: dict[str, Any] = {
    "Integer": int,
    "Float": (int, float),
    "Dict": Mapping,
    "List": (list, tuple),
    "Boolean": bool,
    "String": str,
}
_KINDS = {
    "Integer": "a whole number",
    "Float": "a number",
    "Dict": "a JSON object",
    "List": "a JSON list",
    "Boolean": "true or false",
    "String": "text; put it in quotes",
}


def typed(key: str, kind: str, value: Any) -> Any:
    """A parameter's value as the pipeline declares it.

    Args:
        key: The parameter's name.
        kind: KFP's name of its type.
        value: Text as typed, or what YAML or Python made of it.

    Raises:
        InvalidSpec: it is none of that type.
    """
    given = value
    try:
        if isinstance(value, str) and kind in _READERS:
            value = _READERS[kind](value)
        elif isinstance(value, str) and kind in ("Dict", "List"):
            value = load_json(value, key)
        elif isinstance(value, os.PathLike) and kind == "String":
            value = os.fspath(value)
        elif kind == "Integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
    except (ValueError, KeyError) as error:
        raise InvalidSpec(f"{key}: got {given!r:.80}, expected {_KINDS.get(kind, kind)}") from error
    wanted = _TYPES.get(kind, object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in ("Integer", "Float")):
        raise InvalidSpec(f"{key}: got {given!r:.80}, expected {_KINDS.get(kind, kind)}")
    return value
