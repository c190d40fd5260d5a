"""Runs: one object for a run on this machine and on Kubeflow, and what starts, lists and finds runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipway.runs.facade import Run as Run
    from shipway.runs.starting import list_runs as list_runs
    from shipway.runs.starting import load_run as load_run
    from shipway.runs.starting import run as run

__all__ = ["Run", "list_runs", "load_run", "run"]

_LAZY = {"Run": "facade", "list_runs": "starting", "load_run": "starting", "run": "starting"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f"shipway.runs.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
