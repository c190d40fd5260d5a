"""What a cluster's run left in object storage: the records that a person reads instead of KFP's empty errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from shipway.artifacts import StepError
from shipway.artifacts.records import StepState
from shipway.cached import cached_steps
from shipway.ending import Stop, lost, settle
from shipway.errors import NotFound, ShipwayError, StorageError

if TYPE_CHECKING:
    from shipway.artifacts import RunRecord, StepRecord
    from shipway.storage import Store

T = TypeVar("T")
HOW = (
    "set SHIPWAY_STORE (s3://bucket/prefix of the cluster's store), AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
ENDS = ("Succeeded", "Failed", "Cancelled")
LATE = StepError(kind="Launcher", message="Kubeflow's launcher failed when the step's own work was done (logs --raw)")
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


def try_steps(run_id: str, cached: Collection[str] = ()) -> tuple[list[StepRecord], str]:
    """Records of the run's steps as far as the store answers, and why they cannot be read (empty where they can).

    Args:
        run_id: The run.
        cached: Its cached tasks: their records are those of the runs that did the work.
    """
    return _asked(lambda: read_steps(run_id, cached=cached), [])


def noted_state(run_id: str, since: datetime | None) -> str:
    """The state that the run's last step wrote down; empty where none did since then, or the store does not answer."""
    record, _ = _asked(lambda: read_run(run_id), None)
    if record is None:
        return ""
    ended = datetime.fromisoformat(record.started_at) + timedelta(seconds=record.seconds)
    return record.state if since is None or ended >= since else ""


def _asked(ask: Callable[[], T], otherwise: T) -> tuple[T, str]:
    """An answer of the store, which is left alone for a while after it did not give one."""
    address = tuple(os.environ.get(name, "") for name in _ADDRESS)
    asked_at, why = _silent.get(address, (0.0, ""))
    if why and time.monotonic() - asked_at < AGAIN_S:
        return otherwise, why
    try:
        found = ask()
    except ShipwayError as error:
        why = f"the steps' records cannot be read from here: {' '.join(str(error).split())}"
        _silent[address] = (time.monotonic(), why)
        return otherwise, why
    _silent.pop(address, None)
    return found, ""


def read_steps(run_id: str, store: Store | None = None, cached: Collection[str] = ()) -> list[StepRecord]:
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
    found.sort(key=lambda record: record.started_at)
    return [*found, *(cached_steps(store, found, run_id, cached) if cached else ())]


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


def merge(
    tasks: Iterable[StepRecord], found: Iterable[StepRecord], *, run_state: str, stop: Stop, is_all: bool
) -> dict[str, StepRecord]:
    """The run's steps by name, in the pipeline's order: Kubeflow knows how a task ended, its record what it said.

    Args:
        tasks: As Kubeflow tells them.
        found: Records; one that no task is known of stands where its time puts it.
        run_state: How the run is.
        stop: What ended it from outside.
        is_all: Whether the records could be read: a failed task without one then left none.
    """
    steps = {task.task: task for task in tasks}
    others = []
    for record in found:
        name = known_as(record.task, steps)
        if name in steps:
            steps[name] = _told(steps[name], record, run_state, stop)
        else:
            is_lost = run_state in ENDS and record.state == "Running"
            others.append(settle(record, run_state, stop) if is_lost else record)
    for name, step in steps.items():
        if is_all and step.state in ("Failed", "Cancelled") and step.error is None:
            steps[name] = step.model_copy(update={"error": lost(stop)})
    for other in others:
        before = sum(1 for step in steps.values() if step.started_at and step.started_at <= other.started_at)
        items = list(steps.items())
        steps = dict([*items[:before], (other.task, other), *items[before:]])
    return steps


def _told(task: StepRecord, record: StepRecord, run_state: str, stop: Stop) -> StepRecord:
    """A task with its record."""
    state, error = _state(task.state, record, run_state, stop), None
    if state in ("Failed", "Cancelled"):
        error = record.error or (LATE if record.state == "Succeeded" else lost(stop))
    known = {"task": task.task, "title": task.title or record.title, "state": state, "error": error}
    if state in ENDS:
        record = settle(record, state, stop)  # a part of it may not have told its end
    return record.model_copy(update=known)


def _state(told: StepState, record: StepRecord, run_state: str, stop: Stop) -> StepState:
    """Kubeflow has the last word of what it saw end: an earlier attempt, or a pod's sudden end, leaves a record that is
    no longer true. Before that the record is ahead, since Kubeflow hears of its tasks some seconds late."""
    if told in ("Cached", "Succeeded", "Failed", "Cancelled"):
        return told
    if run_state not in ENDS:  # a failure may be tried again
        return record.state if record.state in ("Running", "Succeeded") else told
    return settle(record, run_state, stop).state if record.state == "Running" else record.state
