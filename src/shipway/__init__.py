"""Shipway: components and pipelines for Kubeflow Pipelines that take data to a served, verified model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shipway.images import VERSION as __version__

# Public name -> module. Resolved on first use (PEP 562): `import shipway` stays light, and the task pod's
# _KFP_RUNTIME, which hides kfp's decorators, never meets a component module that nobody asked for.
_PUBLIC = {
    "ShipwayError": "shipway.errors",
    "UserError": "shipway.errors",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from shipway.errors import ShipwayError as ShipwayError
    from shipway.errors import UserError as UserError


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'shipway' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
