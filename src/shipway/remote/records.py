"""What a cluster's run left in object storage: the records that a person reads instead of KFP's empty errors."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from shipway.errors import NotFound, ShipwayError, StorageError

if TYPE_CHECKING:
    from shipway.artifacts import RunRecord, StepRecord
    from shipway.storage import Store

HOW = (
    "set SHIPWAY_STORE (s3://bucket/prefix of the cluster's store), AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
AGAIN_S = 60.0  # before a store that did not answer is asked again: each try may take a quarter of a minute
_ADDRESS = ("SHIPWAY_STORE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_silent: dict[tuple[str, ...], tuple[float, str]] = {}  # address -> when it was asked, and why it failed


def cluster_store() -> Store | None:
    """The store that the cluster writes to; None unless the environment names one. Never starts one here."""
    uri = os.environ.get("SHIPWAY_STORE", "")
    if not uri or (uri.startswith("s3://") and "AWS_ENDPOINT_URL" not in os.environ and not _is_aws()):
        return None
    from shipway.storage import Store

    return Store.open(uri)


def missing_store() -> str:
    """How to name the store, where none is named; empty where one is."""
    return "" if cluster_store() is not None else f"no store is named: {HOW}"


def _is_aws() -> bool:
    return "AWS_REGION" in os.environ or "AWS_DEFAULT_REGION" in os.environ


def try_steps(run_id: str) -> tuple[list[StepRecord], str]:
    """Records of the run's steps as far as the store answers, and why they cannot be read (empty where they can)."""
    address = tuple(os.environ.get(name, "") for name in _ADDRESS)
    asked_at, why = _silent.get(address, (0.0, ""))
    if why and time.monotonic() - asked_at < AGAIN_S:
        return [], why
    try:
        found = read_steps(run_id)
    except ShipwayError as error:
        why = f"the steps' records cannot be read from here: {' '.join(str(error).split())}"
        _silent[address] = (time.monotonic(), why)
        return [], why
    _silent.pop(address, None)
    return found, ""


def read_steps(run_id: str, store: Store | None = None) -> list[StepRecord]:
    """Records of the run's steps, in the order in which they began; empty where no store is named.

    Raises:
        StorageError: the store does not answer, or refuses.
    """
    from shipway.artifacts import StepRecord

    store = store or cluster_store()
    if store is None:
        return []
    found = []
    for info in store.list(f"runs/{run_id}/steps/"):
        if info.key.endswith(".json"):
            try:
                found.append(StepRecord.from_json(store.get(info.key), info.key))
            except StorageError:
                raise
            except (ShipwayError, ValueError):  # one torn record must not hide the others
                continue
    return sorted(found, key=lambda record: record.started_at)


def read_run(run_id: str, store: Store | None = None) -> RunRecord | None:
    """The record that the run's last step wrote; None before its end, or where no store is named."""
    from shipway.artifacts import RunRecord

    store = store or cluster_store()
    if store is None:
        return None
    key = f"runs/{run_id}/run.json"
    try:
        return RunRecord.from_json(store.get(key), key)
    except NotFound:
        return None


def known_as(task: str, names: Collection[str]) -> str:
    """A record's task by the name that it has in the pipeline: a launch calls itself `train`, its task is `job`."""
    from shipway.summary import ROLES

    if task in names:
        return task
    for role, aliases in ROLES.items():
        if task == role or task in aliases:
            return next((alias for alias in aliases if alias in names), task)
    return task
