"""Here or on Kubeflow: the one rule, of the command line and from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipway.errors import InvalidSpec
from shipway.remote.settings import configured_url

if TYPE_CHECKING:
    from shipway.remote.connection import Connection


def connected(kfp: Connection | str | None = None, *, here: bool = False) -> Connection | None:
    """The way to Kubeflow where one is given or configured; None for this machine.

    Args:
        kfp: A connection, or an address as `connect` takes it; None for what is configured (SHIPWAY_KFP,
            ~/.config/shipway/kfp.yaml).
        here: This machine, though a Kubeflow is configured.

    Raises:
        InvalidSpec: both places were named.
    """
    if here:
        if kfp is not None:
            raise InvalidSpec(f"this machine and Kubeflow at {address_of(kfp)}: one place at a time", field="kfp")
        return None
    if kfp is not None and not isinstance(kfp, str):
        return kfp
    if not (kfp or configured_url()):
        return None
    from shipway.remote.connection import connect

    return connect(kfp or None)


def address_of(kfp: Connection | str) -> str:
    """For messages."""
    return kfp if isinstance(kfp, str) else kfp.settings.url
