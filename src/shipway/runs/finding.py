"""Runs of this machine, listed and found: by their folders while they go on, by the store's records after."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress

from shipway.artifacts import RunRecord
from shipway.context import Context
from shipway.errors import NotFound, ShipwayError
from shipway.local.store import has_store, use_store
from shipway.runs.here import Here


def list_here(context: Context | None = None) -> list[Here]:
    """Runs that storage knows, and those of this machine that have not told their end; the newest first.

    Who looks starts no store.
    """
    context = context or Context.current()
    unfinished = {run.key: run for run in unfinished_here(context)}
    known = _stored(context) if has_store(context) else []
    ended = [Here(record.run, context, record=record) for record in known if record.run not in unfinished]
    return sorted([*unfinished.values(), *ended], key=lambda run: run.record.started_at, reverse=True)


def _stored(context: Context) -> Iterator[RunRecord]:
    from shipway.storage import Store

    use_store(context)
    store = Store.open(context.store_uri)
    for entry in store.list("runs/"):
        if entry.key.count("/") == 2 and entry.key.endswith("/run.json"):
            try:
                yield RunRecord.from_json(store.get(entry.key), entry.key)
            except ShipwayError as error:  # one record that cannot be read must not hide the others
                print(f"shipway: {error}", file=sys.stderr)


def unfinished_here(context: Context) -> Iterator[Here]:
    """Runs of this machine that have not told their end: they go on, or their host was killed."""
    for path in sorted((context.home / "runs").glob("*/request.json")):
        with suppress(OSError, ValueError, TypeError):  # it was removed meanwhile, or another Shipway wrote it
            run = Here(path.parent.name, context)
            if not run.folder.state():
                run.refresh()
                yield run


def find_here(key: str) -> Here:
    """A run by its key or the beginning of it, its idempotency key, or `last`.

    Raises:
        NotFound: none, or more than one, fits.
    """
    context = Context.current()
    names = [path.name for path in (context.home / "runs").glob("*") if path.is_dir()]
    # An empty key is a variable that was not set, and fits every run: it is none.
    for name in [name for name in names if name == key] or [name for name in names if key and name.startswith(key)]:
        if sum(other.startswith(key) for other in names) > 1 and name != key:
            break
        with suppress(OSError, ValueError, TypeError):  # its folder tells nothing of it: the store may
            run = Here(name, context)
            run.refresh()
            return run
    runs = list_here(context)
    if key == "last" and runs:
        return runs[0]
    matching = [run for run in runs if key and key in (run.key, run.record.idempotency_key)]
    matching = matching or [run for run in runs if key and run.key.startswith(key)]
    if not runs and key == "last":
        raise NotFound("no runs yet on this machine; `shipway demo` makes one", field="run")
    if len(matching) != 1:
        ask = "`shipway runs list` names them" if runs else "`shipway demo` makes one"
        raise NotFound(f"{len(matching)} runs begin with {key!r} on this machine; {ask}", field="run", given=key)
    return matching[0]
