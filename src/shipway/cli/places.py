"""Where the commands find storage; those that only look never start a server that was never there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipway.storage import Store


def has_store() -> bool:
    """Whether there is a store to look into: named by the environment, or once started in this home."""
    from shipway.context import Context

    context = Context.current()
    if not context.store_uri.startswith("s3://") or "AWS_ENDPOINT_URL" in os.environ:
        return True
    return (context.home / "store" / "server.json").exists()


def open_store() -> Store:
    """The store in force; the embedded one is started where nothing else is named.

    Raises:
        NotFound: nothing was ever stored here.
    """
    from shipway.context import Context
    from shipway.errors import NotFound
    from shipway.runs import use_store
    from shipway.storage import Store

    context = Context.current()
    if not has_store():
        raise NotFound(f"store: nothing is stored in {context.home} yet; `shipway demo` or `shipway run` begins")
    use_store(context)
    return Store.open(context.store_uri)


def prepare_store() -> None:
    """Starts or adopts the store that steps will write to, and points this process at it."""
    from shipway.context import Context
    from shipway.runs import use_store

    context = Context.current()
    context.make_home()
    use_store(context)
