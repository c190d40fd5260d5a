"""Shipway: components and pipelines for Kubeflow Pipelines that take data to a served, verified model."""

# ruff: noqa: E402 - before any other import (even `__future__`) the path is settled
from shipway import modules

modules.settle()

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shipway.images import VERSION as __version__

# Public name -> module. Resolved on first use (PEP 562): `import shipway` stays light, and the task pod's
# _KFP_RUNTIME, which hides kfp's decorators, never meets a component module that nobody asked for.
_PUBLIC = {
    "Connection": "shipway.remote.connection",
    "Run": "shipway.runs",
    "ShipwayError": "shipway.errors",
    "UserError": "shipway.errors",
    "compile_pipeline": "shipway.compiling",
    "connect": "shipway.remote.connection",
    "list_runs": "shipway.runs",
    "load_run": "shipway.runs",
    "report": "shipway.functions.reporting",
    "run": "shipway.runs",
    "sweep": "shipway.functions.sweeping",
    "train": "shipway.functions.training",
    "use_store": "shipway.store_secret",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from shipway.compiling import compile_pipeline as compile_pipeline
    from shipway.errors import ShipwayError as ShipwayError
    from shipway.errors import UserError as UserError
    from shipway.functions.reporting import report as report
    from shipway.functions.sweeping import sweep as sweep
    from shipway.functions.training import train as train
    from shipway.remote.connection import Connection as Connection
    from shipway.remote.connection import connect as connect
    from shipway.runs import Run as Run
    from shipway.runs import list_runs as list_runs
    from shipway.runs import load_run as load_run
    from shipway.runs import run as run
    from shipway.store_secret import use_store as use_store


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'shipway' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
