"""What a cluster's run left in object storage: the records that a person reads instead of KFP's empty errors."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from shipway.artifacts import StepError
from shipway.artifacts.records import StepState
from shipway.cached import cached_steps
from shipway.dag import find_task, own_name
from shipway.ending import Stop, lost, settle
from shipway.errors import NotFound, ShipwayError, StorageError
from shipway.remote.tasks import together

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
        cached: Its cached tasks, or those that may have cached iterations: their records are those of the runs that
            did the work.
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
        answer = ask()
    except ShipwayError as error:
        why = f"the steps' records cannot be read from here: {' '.join(str(error).split())}"
        _silent[address] = (time.monotonic(), why)
        return otherwise, why
    _silent.pop(address, None)
    return answer, ""


def read_steps(run_id: str, store: Store | None = None, cached: Collection[str] = ()) -> list[StepRecord]:
    """Records of the run's steps, in the order in which they began; empty where no store is named.

    Raises:
        StorageError: the store does not answer, or refuses.
    """
    from shipway.artifacts import StepRecord

    store = store or cluster_store()
    if store is None:
        return []
    steps = []
    for info in store.list(f"runs/{run_id}/steps/"):
        if info.key.endswith(".json"):
            try:
                steps.append(StepRecord.from_json(store.get(info.key), info.key))
            except StorageError:
                raise
            except (ShipwayError, ValueError):  # one torn record must not hide the others
                continue
    steps.sort(key=lambda record: record.started_at)
    return [*steps, *(cached_steps(store, steps, run_id, cached) if cached else ())]


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


def merge(
    titles: Mapping[str, str],
    seen: Mapping[str, list[StepRecord]],
    told: Iterable[StepRecord],
    *,
    run: str,
    run_state: str,
    stop: Stop,
    is_all: bool,
) -> dict[str, StepRecord]:
    """The run's steps by name, in the pipeline's order: Kubeflow knows how a task ended, its record what it said.

    Records tell the iterations of a loop apart, and tasks of one name in several nested pipelines, which Kubeflow does
    not; of those that left no record, a task is one step.

    Args:
        titles: The pipeline's tasks, path -> title.
        seen: What Kubeflow saw, by the tasks' own names.
        found: Records; one that no task is known of stands where its time puts it.
        run: Its id.
        run_state: How the run is.
        stop: What ended it from outside.
        is_all: Whether the records could be read: a failed task without one then left none.
    """
    mine, others = _by_task(titles, told)
    rows: dict[str, list[StepRecord]] = {task: [] for task in titles}
    for name, nodes in seen.items():
        tasks = [task for task in titles if own_name(task) == name]
        pairs, left = _pair([record for task in tasks for record in mine[task]], nodes)
        for record, node in pairs:
            rows[record.task].append(_told(node or together((), run_state), record, titles, run_state, stop))
        silent = [task for task in tasks if not mine[task]]
        if left and not silent:
            silent = [task for task in tasks if all(record.iteration for record in mine[task])][:1]
        for task in silent:
            known = {"run": run, "task": task, "title": titles[task]}
            rows[task].append(together(left, run_state).model_copy(update=known))
    steps = {step.name: step for task in titles for step in rows[task]}
    for name, step in steps.items():
        if is_all and step.state in ("Failed", "Cancelled") and step.error is None:
            steps[name] = step.model_copy(update={"error": lost(stop)})
    for other in others:
        is_lost = run_state in ENDS and other.state == "Running"
        shown = settle(other, run_state, stop) if is_lost else other
        before = sum(1 for step in steps.values() if step.started_at and step.started_at <= other.started_at)
        items = list(steps.items())
        steps = dict([*items[:before], (other.name, shown), *items[before:]])
    return steps


def _by_task(
    titles: Mapping[str, str], told: Iterable[StepRecord]
) -> tuple[dict[str, list[StepRecord]], list[StepRecord]]:
    """Records by the task that they are of, in the order of their iterations, and those of none."""
    mine: dict[str, list[StepRecord]] = {task: [] for task in titles}
    others: list[StepRecord] = []
    for record in told:
        task = find_task(record.task, titles)
        if task:
            mine[task].append(record.moved(task, record.iteration))
        else:
            others.append(record)
    for records in mine.values():
        records.sort(key=lambda record: [int(number) for number in re.findall(r"\d+", record.iteration)])
    return mine, others


def _pair(
    records: Sequence[StepRecord], nodes: Iterable[StepRecord]
) -> tuple[list[tuple[StepRecord, StepRecord | None]], list[StepRecord]]:
    """Each record with a node of its state, else with the next; and the nodes that no record is left for."""
    left = list(nodes)
    pairs: dict[str, StepRecord] = {}
    for must_agree in (True, False):
        for record in records:
            node = next((node for node in left if not must_agree or node.state == record.state), None)
            if node is not None and record.name not in pairs:
                pairs[record.name] = left.pop(left.index(node))
    return [(record, pairs.get(record.name)) for record in records], left


def _told(seen: StepRecord, record: StepRecord, titles: Mapping[str, str], run_state: str, stop: Stop) -> StepRecord:
    """What Kubeflow saw of a step, with its record."""
    state, error = _state(seen.state, record, run_state, stop), None
    if state in ("Failed", "Cancelled"):
        error = record.error or (LATE if record.state == "Succeeded" else lost(stop))
    known = {"title": titles[record.task] or record.title, "state": state, "error": error}
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
