"""Validates a pipeline's whole configuration before anything is spent, and names what each step depends on."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "train_and_deploy":
        return import_module("shipway.components.plan.component").train_and_deploy
    raise AttributeError(name)
