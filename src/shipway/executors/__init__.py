"""Executors play a manifest: on a cluster, or with processes on this machine."""

from __future__ import annotations

from shipway.executors.base import Event, Executor, Handle, LogLine, Manifest, OnEvent, Outcome, ReplicaFailure

__all__ = ["Event", "Executor", "Handle", "LogLine", "Manifest", "OnEvent", "Outcome", "ReplicaFailure", "current"]


def current() -> Executor:
    """The executor that this process's surroundings name (SHIPWAY_EXECUTOR)."""
    from shipway.context import Context
    from shipway.errors import InvalidSpec

    context = Context.current()
    if context.executor == "process":
        from shipway.executors.process import ProcessExecutor

        return ProcessExecutor(context)
    raise InvalidSpec(f"SHIPWAY_EXECUTOR: unknown executor {context.executor!r}; expected process")
