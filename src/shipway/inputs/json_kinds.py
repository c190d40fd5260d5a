"""JSON values in the words of an error, and names that mean nothing where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shipway.inputs.base import BadRequest


def kind_of(value: Any) -> str:
    """What a JSON value is, in the words of an error."""
    names = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def check_names(given: Any, allowed: Sequence[str], where: str) -> None:
    """Refuses what is no object, and a name that means nothing there: ignored, it would be taken for honoured.

    Raises:
        BadRequest: names it and what is allowed.
    """
    if not isinstance(given, Mapping):
        raise BadRequest(f"{where} must be a JSON object, got {kind_of(given)}")
    for name in given:
        if name not in allowed:
            raise BadRequest(f"{where}: unknown name {name[:40]!r}; allowed are {', '.join(allowed)}")
