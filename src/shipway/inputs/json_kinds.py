"""JSON values in the words of an error, and names that mean nothing where they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shipway.inputs.base import BadRequest

SHOWN_CHARS = 40
SHOWN_ITEMS = 4


def kind_of(value: Any) -> str:
    """What a JSON value is, in the words of an error."""
    names = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def shown(value: Any) -> str:
    """A JSON value as an error quotes it: a few characters, whatever a client sent and however deep it is nested."""
    if isinstance(value, str):
        return repr(value[:SHOWN_CHARS])
    if isinstance(value, list) and len(value) <= SHOWN_ITEMS and not any(isinstance(v, list | dict) for v in value):
        return f"[{', '.join(map(shown, value))}]"
    return kind_of(value) if isinstance(value, list | dict | bytes) else json.dumps(value)


def check_names(given: Any, allowed: Sequence[str], where: str) -> None:
    """Refuses what is no object, and a name that means nothing there: ignored, it would be taken for honoured.

    Raises:
        BadRequest: names it and what is allowed.
    """
    if not isinstance(given, Mapping):
        raise BadRequest(f"{where} must be a JSON object, got {kind_of(given)}")
    for name in given:
        if name not in allowed:
            raise BadRequest(f"{where}: unknown name {shown(name)}; allowed are {', '.join(allowed) or 'none'}")
