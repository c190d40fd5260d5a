"""What a pipeline over a function is started with."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from shipway.functions.source import Source, extract
from shipway.functions.travelling import origin, write


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
