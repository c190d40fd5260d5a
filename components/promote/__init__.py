"""Whether a model may take over: rules over its own figures and against the reigning champion."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "gate":
        return import_module("shipway.components.promote.component").gate
    raise AttributeError(name)
