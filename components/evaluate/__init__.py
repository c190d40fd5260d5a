"""How good a model is: its task's metrics with intervals, baselines, slices."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "model":
        return import_module("shipway.components.evaluate.component").model
    raise AttributeError(name)
