"""Gate, register and deploy as one task: what happens between an evaluated model and a checked endpoint."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "release":
        return import_module("shipway.components.release.component").release
    raise AttributeError(name)
