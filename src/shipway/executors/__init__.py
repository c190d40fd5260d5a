"""Executors play a manifest: on a cluster, or with processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipway.executors.base import Event, Executor, Handle, LogLine, Manifest, OnEvent, Outcome, ReplicaFailure

if TYPE_CHECKING:
    from shipway.executors.manifests import play, read_manifest, run_manifest
    from shipway.executors.outcomes import raise_for

__all__ = [
    "Event",
    "Executor",
    "Handle",
    "LogLine",
    "Manifest",
    "OnEvent",
    "Outcome",
    "ReplicaFailure",
    "current",
    "play",
    "raise_for",
    "read_manifest",
    "run_manifest",
]

_LAZY = {"play": "manifests", "raise_for": "outcomes", "read_manifest": "manifests", "run_manifest": "manifests"}


def __getattr__(name: str) -> Any:
    # Lazy: a supervisor imports this package at every job's start.
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f"shipway.executors.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def current() -> Executor:
    """The executor that this process's surroundings name (SHIPWAY_EXECUTOR)."""
    from shipway.context import Context
    from shipway.errors import InvalidSpec

    context = Context.current()
    if context.executor == "process":
        from shipway.executors.process import ProcessExecutor

        return ProcessExecutor(context)
    if context.executor == "kubernetes":
        from shipway.executors.kubernetes import KubernetesExecutor

        return KubernetesExecutor(context)
    raise InvalidSpec(
        "unknown executor",
        field="SHIPWAY_EXECUTOR",
        given=context.executor,
        allowed="process or kubernetes",
        fix="unset it for process",
    )
