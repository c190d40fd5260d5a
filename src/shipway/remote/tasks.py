"""What Kubeflow's API says of a run's tasks, read by the tasks of its pipeline.

`task_details` are the nodes of the Workflow, named by the last part of Argo's path: of a task `train` the nodes
`train`, `train-driver` and, below `train`, `executor` (with attempts `executor(0)`); beside them the Workflow itself,
`root`, `exit-handler-1`, `<path>.onExit`, `condition-2`, `iteration-item`, and entries without a name, which the
launcher makes for the cache. No field tells whose child an `executor` is, since a node's own id is not given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shipway.artifacts import StepRecord
from shipway.artifacts.records import StepState
from shipway.dag import is_around, own_name
from shipway.ending import ENDED, STATES

EXECUTOR = "executor"


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
    nodes = []
    for each in details or ():
        state = STATES.get(str(each.state), "")
        node = Node(str(each.display_name or ""), state, moment(each.start_time), moment(each.end_time))
        is_of_before = since is not None and state in ("Failed", "") and node.ended is not None and node.ended < since
        if node.name and not is_of_before:
            nodes.append(node)
    return nodes


def read_tasks(nodes: Sequence[Node], tasks: Iterable[str], *, run: str, run_state: str) -> dict[str, list[StepRecord]]:
    """What Kubeflow saw of the tasks, by their own names: a step for each node.

    The iterations of a loop have nodes of one name, and so have tasks of one name in two nested pipelines: which of
    them a node belongs to, Kubeflow's API does not tell.

    Args:
        nodes: The Workflow's.
        tasks: Paths of the tasks.
        run: Its id.
        run_state: How the run is.
    """
    names = list(dict.fromkeys(map(own_name, tasks)))
    cached = _cached(nodes, names)
    return {name: _read_task(name, nodes, cached, run, run_state) for name in names}


def plain_names(nodes: Sequence[Node]) -> list[str]:
    """Tasks as far as their nodes' names tell: those with a driver that are none of Kubeflow's own DAGs."""
    drivers = {node.name.removesuffix("-driver") for node in nodes if node.name.endswith("-driver")}
    ours = sorted((node for node in nodes if node.name in drivers), key=lambda node: str(node.began or ""))
    return list(dict.fromkeys(node.name for node in ours if not is_around(node.name)))


def _cached(nodes: Sequence[Node], names: Collection[str]) -> set[int]:
    """Ids of the task nodes whose executor was left out because the cache had the answer.

    Whose it is is told by time alone: a cached task begins and ends in the moment in which its executor is skipped.
    """
    skipped = [node for node in nodes if node.name == EXECUTOR and node.state == "Skipped" and node.began]
    tasks = sorted((n for n in nodes if n.name in names and n.state == "Succeeded"), key=lambda node: node.seconds)
    taken: set[int] = set()
    for executor in skipped:
        fitting = (task for task in tasks if id(task) not in taken and _holds(task, executor))
        task = next(fitting, None)
        if task is not None:
            taken.add(id(task))
    return taken


def _holds(task: Node, executor: Node) -> bool:
    if task.began is None or task.ended is None or executor.began is None:
        return False
    return task.began <= executor.began <= task.ended


def _read_task(name: str, nodes: Sequence[Node], cached: set[int], run: str, run_state: str) -> list[StepRecord]:
    """A driver that failed is its task's failure; before its end it is the task's beginning."""
    has_ended = run_state in ENDED
    mine = sorted((node for node in nodes if node.name == name and node.state), key=_began)
    drivers = sorted((node for node in nodes if node.name == f"{name}-driver"), key=_began)
    alone = [d for d in drivers if d.state == "Failed" or (d.state == "Running" and not has_ended)]
    records = []
    for at, node in enumerate((*mine, *alone)):
        driver = drivers[at] if len(mine) == len(drivers) else node
        state = _state(node, run_state, is_cached=id(node) in cached)
        began = min((each.began for each in (driver, node) if each.began), default=None)
        told = began.isoformat() if began and state != "Skipped" else ""
        took = round(node.seconds, 1) if node in mine and state != "Skipped" else 0.0
        records.append(StepRecord(run=run, task=name, state=state, started_at=told, seconds=took))
    return records


def _began(node: Node) -> str:
    return node.began.isoformat() if node.began else ""


def _state(node: Node, run_state: str, *, is_cached: bool) -> StepState:
    if node.state == "Succeeded":
        return "Cached" if is_cached else "Succeeded"
    if node.state == "Skipped":
        return "Skipped"
    if node.state != "Failed" and run_state not in ENDED:
        return "Running"
    return "Cancelled" if run_state == "Cancelled" else "Failed"


def together(seen: Sequence[StepRecord], run_state: str) -> StepRecord:
    """Several nodes as one step: Failed where one of them is, Cached where all are."""
    if len(seen) == 1:
        return seen[0]
    nothing: StepState = "Skipped" if run_state in ENDED else "Pending"
    states = [step.state for step in seen]
    order: tuple[StepState, ...] = ("Failed", "Cancelled", "Running", "Succeeded", "Cached")
    state = next((state for state in order if state in states), "Skipped" if states else nothing)
    times = [(datetime.fromisoformat(step.started_at), step.seconds) for step in seen if step.started_at]
    if not times:
        return StepRecord(run="", task="", state=state)
    began, ended = min(at for at, _ in times), max(at + timedelta(seconds=seconds) for at, seconds in times)
    took = round((ended - began).total_seconds(), 1)
    return StepRecord(run="", task="", state=state, started_at=began.isoformat(), seconds=took)


def moment(value: Any) -> datetime | None:
    """A time of the API in UTC; the year 1970 stands for none."""
    if not isinstance(value, datetime) or value.year <= 1970:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
