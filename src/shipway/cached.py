"""What a cached step found: its records lie with the run that did the work.

A cached task runs no code in its run, and Kubeflow's API (v2beta1) names no artifacts. But every artifact that a later
step of the run reads lies where its maker wrote it, `<root>/<pipeline>/<run>/<task>/<salt>/<output>`, and each step
keeps these URIs in its record.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from shipway.errors import CorruptArtifact, NotFound
from shipway.summary import ROLES, names_of

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord
    from shipway.storage import Store

_MADE = re.compile(r"/(?P<run>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/(?P<task>[^/]+)/[^/]+/[^/]+/?$")


def makers(records: Iterable[StepRecord], run: str) -> dict[str, str]:
    """Tasks whose artifacts the run's steps read, though another run made them: task -> that run."""
    uris = [uri for record in records for uri in record.inputs.values()]
    found = {made["task"]: made["run"] for made in map(_MADE.search, uris) if made}
    return {task: maker for task, maker in found.items() if maker != run}


def cached_steps(
    store: Store, records: Collection[StepRecord], run: str, among: Collection[str] | None = None
) -> list[StepRecord]:
    """Records of the run's cached steps, as the runs that did the work kept them, under their tasks' own names.

    Args:
        store: Where both runs' records lie.
        records: The run's own.
        run: Its id.
        among: Tasks that are known to be cached; None where it is known from the records alone. A task that left a
            record in this run did its work here.

    Raises:
        StorageError: the store does not answer, or refuses.
    """
    own = {name for record in records for name in names_of(record.task)}
    found = []
    made_by = makers(records, run)
    train = next((task for task in made_by if task in ROLES["train"]), "")
    sweep = next((task for task in ROLES["sweep"] if among is None or task in among), "")
    if train and sweep:  # training takes the sweep's best as a parameter: both were made by one run
        made_by.setdefault(sweep, made_by[train])
    for task, maker in made_by.items():
        if task not in among if among is not None else task in own:
            continue
        record = _record(store, maker, task)
        if record is not None:
            made = {"task": task, "run": run, "state": "Cached", "cached_from": maker, "error": None}
            found.append(record.model_copy(update=made))
    # In the order in which they were made; in this run they took no time, and stand behind what began it.
    found.sort(key=lambda record: record.started_at)
    began = min((record.started_at for record in records if record.started_at), default="")
    return [record.model_copy(update={"started_at": began}) for record in found]


def _record(store: Store, run: str, task: str) -> StepRecord | None:
    """None where it was cleaned away, or cannot be read."""
    from shipway.artifacts import StepRecord

    for name in dict.fromkeys((task, *names_of(task))):
        key = f"runs/{run}/steps/{name}.json"
        try:
            return StepRecord.from_json(store.get(key), key)
        except NotFound:
            continue
        except CorruptArtifact:
            return None
    return None
