"""What a cached step found: its records lie with the run that did the work.

A cached task runs no code in its run, and Kubeflow's API (v2beta1) names no artifacts. But every artifact that a later
step of the run reads lies where its maker wrote it, `<root>/<pipeline>/<run>/<task>/<salt>/<output>`, and each step
keeps in its record the URIs that it read, and those that it wrote: a cached step is the one that wrote what was read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from shipway.dag import find_task
from shipway.errors import CorruptArtifact, NotFound

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord
    from shipway.storage import Store

_MADE = re.compile(r"/(?P<run>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[^/]+/[^/]+/[^/]+/?$")


def makers(records: Iterable[StepRecord], run: str) -> dict[str, set[str]]:
    """Other runs that made what the run's steps read: run -> URIs."""
    uris_by_run: dict[str, set[str]] = {}
    for uri in (uri for record in records for uri in record.inputs.values()):
        made = _MADE.search(uri)
        if made and made["run"] != run:
            uris_by_run.setdefault(made["run"], set()).add(uri)
    return uris_by_run


def cached_steps(
    store: Store, records: Collection[StepRecord], run: str, among: Collection[str] | None = None
) -> list[StepRecord]:
    """Records of the run's cached steps, as the runs that did the work kept them, under their tasks' own names.

    Args:
        store: Where both runs' records lie.
        records: The run's own.
        run: Its id.
        among: Tasks that are known to be cached, or to have cached iterations; None where it is known from the records
            alone. A step that left a record in this run did its work here.

    Raises:
        StorageError: the store does not answer, or refuses.
    """
    own = {record.name for record in records}
    earlier = []
    for maker, uris in makers(records, run).items():
        theirs = _read_all(store, maker)
        worked = [record for record in theirs if uris & set(record.made.values())]
        if any(record.role == "train" for record in worked):
            # Training takes the sweep's best as a parameter: both were made by one run.
            worked += [record for record in theirs if record.role == "sweep" and record not in worked]
        for record in worked:
            task = record.task if among is None else find_task(record.task, among)
            made = record.moved(task, record.iteration)
            if task and made.name not in own:
                made = made.model_copy(update={"run": run, "state": "Cached", "cached_from": maker, "error": None})
                earlier.append(made)
    # In the order in which they were made; in this run they took no time, and stand behind what began it.
    earlier.sort(key=lambda record: record.started_at)
    began = min((record.started_at for record in records if record.started_at), default="")
    return [record.model_copy(update={"started_at": began}) for record in earlier]


def _read_all(store: Store, run: str) -> Sequence[StepRecord]:
    """A run's records but those that cannot be read; empty where they were cleaned away."""
    from shipway.artifacts import StepRecord

    records = []
    for info in store.list(f"runs/{run}/steps/"):
        try:
            records.append(StepRecord.from_json(store.get(info.key), info.key))
        except (NotFound, CorruptArtifact):
            continue
    return records
