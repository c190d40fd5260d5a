"""What a pipeline over a function is started with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from shipway.functions.source import Source, extract
from shipway.functions.travelling import origin, write
from shipway.parameters import mapping


def packed(function: Callable[..., Any], name: str, *, is_cluster: bool) -> tuple[Source, dict[str, Any]]:
    """The function's source, and the parameters of a pipeline that say what it is.

    Raises:
        InvalidSpec: what cannot travel, or what the cluster's image lacks.
    """
    source = extract(function)
    if is_cluster:
        source.check_image()
    params = {
        "name": name or re.sub(r"[^a-z0-9]+", "-", source.name.lower()).strip("-"),
        "function": source.reference,
        "code": str(write(source)),
        "origin": origin(source, getattr(function, "__globals__", {})),
    }
    return source, params


def sections(overrides: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Overrides as they are given from Python, copied.

    Raises:
        InvalidSpec: they, or a section, are no mapping.
    """
    whole = mapping(overrides, "overrides", "a dict of sections: {'training': {'resources': {'cpu': '4'}}}")
    return {name: mapping(value, f"overrides.{name}", "a dict of fields") for name, value in whole.items()}
