"""Starts a pipeline over a function: the one place here that knows how runs are started."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shipway.functions.source import Source, extract
from shipway.functions.travelling import origin, write

if TYPE_CHECKING:
    from shipway.remote.connection import Connection
    from shipway.runs import Run


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


def start(pipeline: str, params: Mapping[str, Any], *, kfp: Connection | str | None, here: bool, fresh: bool) -> Run:
    """Starts a pipeline here, or on Kubeflow where one is given."""
    from shipway import runs
    from shipway.remote import connect

    if kfp is None or here:
        return runs.run(pipeline, params, fresh=fresh)
    connection = connect(kfp) if isinstance(kfp, str) else kfp
    return connection.submit(pipeline, params)
