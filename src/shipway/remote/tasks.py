"""What Kubeflow's API says of a run's tasks, read by the tasks of its pipeline.

`task_details` are the nodes of the Workflow, named by the last part of Argo's path: of a task `train` the nodes
`train`, `train-driver` and, below `train`, `executor` (with attempts `executor(0)`); beside them the Workflow itself,
`root`, `exit-handler-1`, `<path>.onExit`, `condition-2`, and entries without a name, which the launcher makes for the
cache. No field tells whose child an `executor` is, since a node's own id is not given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shipway.artifacts import StepRecord
from shipway.artifacts.records import StepState
from shipway.ending import ENDED, STATES

EXECUTOR = "executor"
_NO_TASK = re.compile(r"root|(exit-handler|condition|condition-branches|for-loop)-\d+")


@dataclass(frozen=True)
class Node:
    """One node: its state in our words, empty for one that Argo left out."""

    name: str
    state: str
    began: datetime | None
    ended: datetime | None

    @property
    def seconds(self) -> float:
        """How long it took; 0 where it has not ended."""
        return max(0.0, (self.ended - self.began).total_seconds()) if self.began and self.ended else 0.0


def nodes_of(details: Iterable[Any] | None, since: datetime | None = None) -> list[Node]:
    """The named nodes.

    Args:
        details: `task_details`.
        since: When the run was retried: the failed nodes of the attempt before are listed until they are made anew.
    """
    found = []
    for each in details or ():
        state = STATES.get(str(each.state), "")
        node = Node(str(each.display_name or ""), state, moment(each.start_time), moment(each.end_time))
        is_of_before = since is not None and state in ("Failed", "") and node.ended is not None and node.ended < since
        if node.name and not is_of_before:
            found.append(node)
    return found


def read_tasks(nodes: Sequence[Node], titles: Mapping[str, str], *, run: str, run_state: str) -> list[StepRecord]:
    """One step a task, in the pipeline's order.

    Args:
        nodes: The Workflow's.
        titles: Task -> display name, as the pipeline version says; empty where that is gone.
        run: Its id.
        run_state: How the run is; a task that was left out is Skipped once it has ended.
    """
    names = titles or dict.fromkeys(plain_names(nodes), "")
    cached = _cached(nodes, names)
    return [_read_task(name, title, nodes, cached, run, run_state) for name, title in names.items()]


def plain_names(nodes: Sequence[Node]) -> list[str]:
    """Tasks as far as their nodes' names tell: those with a driver that are none of Kubeflow's own DAGs."""
    drivers = {node.name.removesuffix("-driver") for node in nodes if node.name.endswith("-driver")}
    ours = sorted((node for node in nodes if node.name in drivers), key=lambda node: str(node.began or ""))
    return list(dict.fromkeys(node.name for node in ours if not _NO_TASK.fullmatch(node.name)))


def _cached(nodes: Sequence[Node], names: Mapping[str, str]) -> set[int]:
    """Ids of the task nodes whose executor was left out because the cache had the answer.

    Whose it is is told by time alone: a cached task begins and ends in the moment in which its executor is skipped.
    """
    skipped = [node for node in nodes if node.name == EXECUTOR and node.state == "Skipped" and node.began]
    tasks = sorted((n for n in nodes if n.name in names and n.state == "Succeeded"), key=lambda node: node.seconds)
    found: set[int] = set()
    for executor in skipped:
        fitting = (task for task in tasks if id(task) not in found and _holds(task, executor))
        task = next(fitting, None)
        if task is not None:
            found.add(id(task))
    return found


def _holds(task: Node, executor: Node) -> bool:
    if task.began is None or task.ended is None or executor.began is None:
        return False
    return task.began <= executor.began <= task.ended


def _read_task(name: str, title: str, nodes: Sequence[Node], cached: set[int], run: str, run_state: str) -> StepRecord:
    """Iterations of a loop are one step; a driver that failed is its task's failure."""
    mine = [node for node in nodes if node.name == name]
    drivers = [node for node in nodes if node.name == f"{name}-driver"]
    began = min((node.began for node in (*mine, *drivers) if node.began), default=None)
    ended = max((node.ended for node in mine if node.ended), default=None)
    state = _state(mine, drivers, run_state, is_cached=bool(mine) and all(id(node) in cached for node in mine))
    if state in ("Pending", "Skipped"):
        began = ended = None
    started = min((node.began for node in mine if node.began and state not in ("Pending", "Skipped")), default=began)
    return StepRecord(
        run=run,
        task=name,
        title=title,
        state=state,
        started_at=began.isoformat() if began else "",
        seconds=round(max(0.0, (ended - started).total_seconds()), 1) if started and ended else 0.0,
    )


def _state(mine: Sequence[Node], drivers: Sequence[Node], run_state: str, *, is_cached: bool) -> StepState:
    has_ended = run_state in ENDED
    states = {node.state for node in mine}
    if "Failed" in states or any(node.state == "Failed" for node in drivers):
        return "Cancelled" if run_state == "Cancelled" else "Failed"
    if states & {"Running", "Pending"} or (not has_ended and any(node.state == "Running" for node in drivers)):
        if not has_ended:
            return "Running"
        return "Cancelled" if run_state == "Cancelled" else "Failed"
    if "Succeeded" in states:
        return "Cached" if is_cached else "Succeeded"
    return "Skipped" if has_ended or "Skipped" in states else "Pending"


def moment(value: Any) -> datetime | None:
    """A time of the API in UTC; the year 1970 stands for none."""
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
