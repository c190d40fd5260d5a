"""Where this machine's storage is; who only looks never starts a server that was never there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shipway.context import EXECUTOR, HOME, STORE, Context
from shipway.errors import NotFound

if TYPE_CHECKING:
    from shipway.storage import Store


def has_store(context: Context | None = None) -> bool:
    """Whether there is a store to look into: named by the environment, or once started in this home."""
    context = context or Context.current()
    if not context.store_uri.startswith("s3://") or "AWS_ENDPOINT_URL" in os.environ:
        return True
    return (context.home / "store" / "server.json").exists()


def open_store() -> Store:
    """The store in force; the embedded one is started where nothing else is named.

    Raises:
        NotFound: nothing was ever stored here.
    """
    from shipway.storage import Store

    context = Context.current()
    if not has_store(context):
        raise NotFound(
            f"nothing is stored in {context.home} yet; `shipway demo` or `shipway run` begins", field="store"
        )
    use_store(context)
    return Store.open(context.store_uri)


def prepare_store() -> None:
    """Starts or adopts the store that steps will write to, and points this process at it."""
    context = Context.current()
    context.make_home()
    use_store(context)


def use_store(context: Context) -> dict[str, str]:
    """Starts (or adopts) the embedded store unless the environment names another, and points this process at it.

    Returns:
        The variables that a process needs to find storage.
    """
    environment = {HOME: str(context.home), STORE: context.store_uri, EXECUTOR: context.executor}
    if context.store_uri.startswith("s3://") and "AWS_ENDPOINT_URL" not in os.environ:
        from shipway.storage import embedded
        from shipway.storage.buckets import ensure_bucket

        environment |= embedded.environment(embedded.start(context.make_home()))
        os.environ.update(environment)
        ensure_bucket(urlsplit(context.store_uri).netloc)
    os.environ.update(environment)
    return environment
