"""Makes a blessed model a version of its name, with a model card."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "register":
        return import_module("shipway.components.register.component").register
    raise AttributeError(name)
