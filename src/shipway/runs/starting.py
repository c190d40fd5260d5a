"""`shipway.run`, `list_runs` and `load_run`: here or on Kubeflow, by the one rule of `connected`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shipway.errors import InvalidSpec
from shipway.person import check_key, check_starter
from shipway.remote.where import connected
from shipway.runs.facade import Run

if TYPE_CHECKING:
    from shipway.remote.connection import Connection
    from shipway.runs.backend import OnEvent


def run(
    pipeline: str,
    params: Mapping[str, Any] | None = None,
    *,
    here: bool = False,
    kfp: Connection | str | None = None,
    fresh: bool = False,
    started_by: str | None = None,
    key: str = "",
    wait: bool = False,
    on_event: OnEvent | None = None,
    **more: Any,
) -> Run:
    """Starts a pipeline: on Kubeflow where one is given or configured, else on this machine.

    Args:
        pipeline: A pipeline's name; here also `package.module:function`, or `file.py[:function]`; on Kubeflow that of
            a published one, `name@version` for a version that is not the current one.
        params: The pipeline's parameters; keyword arguments are added to them. `data` may be a pandas, Polars or Arrow
            table: it is written to the store, under a name that is the hash of what it holds.
        here: This machine, though a Kubeflow is configured.
        kfp: A connection, or an address as `connect` takes it; None for what is configured.
        fresh: Here: start anew instead of going on where the same run stopped, and use no cached step.
        started_by: Who or what starts it; None for the person at this machine.
        key: Idempotency key, an event's id for example. Where a run of this pipeline has it, that run is returned,
            however it ended and whatever its parameters are (`Run.is_new` is False), and nothing is started. Here a run
            whose process was killed goes on.
        wait: Wait for the end before returning.
        on_event: Called with every event while waiting.

    Raises:
        InvalidSpec: a parameter is wrong; nothing has been started.
    """
    connection = connected(kfp, here=here)
    if fresh and (connection is not None or key):
        what = "a run on Kubeflow, whose cache is its own" if connection is not None else "an idempotency key"
        raise InvalidSpec(f"not with {what}", field="fresh", fix="leave one of them out")
    whole = {**(params or {}), **more}
    if connection is None:
        started = _start_here(pipeline, whole, fresh=fresh, started_by=started_by, key=key)
    else:
        started = connection.submit(pipeline, whole, started_by=started_by, key=key)
    return started.wait(on_event) if wait or on_event is not None else started


def _start_here(pipeline: str, params: Mapping[str, Any], *, fresh: bool, started_by: str | None, key: str) -> Run:
    from shipway.executors import current
    from shipway.local.prepared import prepare
    from shipway.runs.here import start

    current()  # an unknown executor is refused now, not when training begins
    by = None if started_by is None else check_starter(started_by)
    idempotency_key = check_key(key) if key else ""
    return Run(start(prepare(pipeline, params), fresh=fresh, idempotency_key=idempotency_key, by=by))


def list_runs(limit: int | None = None, *, here: bool = False, kfp: Connection | str | None = None) -> list[Run]:
    """Runs, the newest first: of Kubeflow where one is given or configured, else of this machine.

    Args:
        limit: At most so many; None for all of this machine, or the 100 newest of Kubeflow.
        here: This machine, though a Kubeflow is configured.
        kfp: As for `run`.
    """
    connection = connected(kfp, here=here)
    if connection is not None:
        return connection.runs(100 if limit is None else limit)
    from shipway.runs.finding import list_here

    return [Run(each) for each in list_here()[:limit]]


def load_run(key: str = "last", *, here: bool = False, kfp: Connection | str | None = None) -> Run:
    """A run of earlier, or one that goes on: by its key or the beginning of it, its idempotency key, or `last`.

    Args:
        key: On Kubeflow its id, name, or the mark in its name.
        here: This machine, though a Kubeflow is configured.
        kfp: As for `run`.

    Raises:
        NotFound: none, or more than one, fits.
    """
    connection = connected(kfp, here=here)
    if connection is not None:
        return connection.run(key)
    from shipway.runs.finding import find_here

    return Run(find_here(key))
