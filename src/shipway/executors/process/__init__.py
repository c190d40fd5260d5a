"""Plays a manifest with processes on this machine: one per replica, the same command, environment and TF_CONFIG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipway.executors.process.executor import ProcessExecutor

__all__ = ["ProcessExecutor"]


def __getattr__(name: str) -> Any:
    # Lazy: the supervisor is a process of its own per job and starts in a tenth of a second without the rest.
    if name == "ProcessExecutor":
        from shipway.executors.process.executor import ProcessExecutor

        return ProcessExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
