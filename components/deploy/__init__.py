"""Brings a registered version up behind an endpoint, checks it over HTTP, and lets it take over.

`deploy.kserve` and `deploy.check` are the components; they load kfp, so they are looked up on first use.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("kserve", "check"):
        from shipway.components.deploy import component

        return getattr(component, name)
    raise AttributeError(f"module 'shipway.components.deploy' has no attribute {name!r}")
