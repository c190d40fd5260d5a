"""Here or on Kubeflow: the one rule by which every command finds its place.

`--local` is here. `--kfp URL` is there. Without either, there if a connection is configured (SHIPWAY_KFP or
~/.config/shipway/kfp.yaml), else here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shipway.remote import Connection

Kfp = Annotated[
    str | None,
    typer.Option("--kfp", help="Kubeflow Pipelines' address, or auto; default: what is configured."),
]
Local = Annotated[bool, typer.Option("--local", help="This machine, though a Kubeflow may be configured.")]


def is_there(kfp: str | None, local: bool = False) -> bool:
    """Whether the command is about Kubeflow.

    Raises:
        InvalidSpec: both places were named.
    """
    from shipway.errors import InvalidSpec
    from shipway.remote.settings import configured_url

    if local and kfp:
        raise InvalidSpec(f"--local and --kfp {kfp}: one place at a time")
    return not local and bool(kfp or configured_url())


def connection(kfp: str | None) -> Connection:
    """Kubeflow, looked for where none is named."""
    from shipway.remote import connect

    return connect(kfp)
