"""From a table of inputs and labels to shards that a training job reads: ingest, validate, split, encode."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["dataset"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("shipway.components.prep.component"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
