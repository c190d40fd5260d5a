"""How good a model is: metrics with intervals, baselines, slices, calibration, confusions."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "classifier":
        return import_module("shipway.components.evaluate.component").classifier
    raise AttributeError(name)
