"""Trains a model with one or many workers: `train.job`, or `train.tfjob` and `train.mpijob` by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "job": "component",
    "tfjob": "component",
    "mpijob": "component",
    "TrainingSpec": "spec",
}


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"shipway.components.train.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'shipway.components.train' has no attribute {name!r}")
