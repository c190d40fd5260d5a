"""Kubeflow Pipelines from outside a task: publish, submit, schedule, watch.

Everything speaks REST API v2beta1 through kfp's generated client, `kfp_server_api`. Nothing here is imported by code
that runs in a task's pod, and nothing heavy is imported before a connection is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipway.remote.connection import Connection as Connection
    from shipway.remote.connection import connect as connect

__all__ = ["Connection", "connect"]

_LAZY = {"Connection": "connection", "connect": "connection"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f"shipway.remote.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
