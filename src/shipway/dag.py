"""A compiled pipeline's tasks, and the names by which a run's steps are told apart.

A task's name is a path: the names of the nested pipelines that it stands in, then its own, `tune.train`. kfp keeps the
names within one pipeline apart, whatever loops, conditions and exit handlers stand around a task, so those are left
out. A step's name has the index of its iteration in each loop behind it, the outermost first: `tune.train.0.2`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from shipway.errors import InvalidSpec

# What kfp and its compiler for Argo put around tasks, and name themselves.
_AROUND = re.compile(r"root|onExit|iteration-item|(exit-handler|condition|condition-branches|for-loop)-\d+")
_ITERATION = re.compile(r"iteration-iterations\((\d+):|for-loop-\d+-iteration-(\d+)$")  # Argo's name, kfp.local's
_EXECUTOR = re.compile(r"executor(?:\((\d+)\))?")
_NUMBERS = re.compile(r"(\.\d+)+$")
_ROOM = re.compile(r"from shipway\.components\.(\w+) import launch")


class Place(NamedTuple):
    """Where a step stands in its pipeline.

    Attributes:
        task: Path of the task; empty where it is not known.
        iteration: Index in each loop around it, `0.2`; empty outside of loops.
    """

    task: str
    iteration: str = ""

    @property
    def name(self) -> str:
        """Of the step; no other of the run has it."""
        return ".".join(filter(None, self))

    @classmethod
    def parse(cls, name: str) -> Place:
        """The place behind a step's name."""
        task = _NUMBERS.sub("", name)
        return cls(task, name[len(task) + 1 :])

    @classmethod
    def within(cls, path: Iterable[str]) -> Place:
        """Of a task by all that stands around it, as Argo or kfp.local names that, and last its own name."""
        names, iterations = list[str](), list[str]()
        *around, own = (part.partition("(")[0] if ":" not in part else part for part in path)  # without the attempt
        for part in around:
            if match := _ITERATION.match(part):
                iterations.append(match[1] or match[2])
            elif not _AROUND.fullmatch(part):
                names.append(part)
        return cls(".".join((*names, own)), ".".join(iterations))

    @classmethod
    def of_node(cls, node: str) -> Place | None:
        """Of the step whose container a node of Argo runs, by the node's path; None for drivers and DAGs.

        A path is `<workflow>.root.<...>.train.executor`, with `(0)` behind whatever may be tried again.
        """
        _, *path, last = node.split(".") if node.count(".") > 1 else ("", "")
        return cls.within(path) if _EXECUTOR.fullmatch(last) and path else None


def attempt_of(node: str) -> int:
    """Of a node of Argo: of `train-x7f.root.job.executor(1)` 1."""
    match = _EXECUTOR.fullmatch(node.rpartition(".")[2])
    return int(match[1] or 0) if match else 0


NOWHERE = Place("")


def own_name(task: str) -> str:
    """The last part of a task's path, which is all that Kubeflow's API has."""
    return task.rpartition(".")[2]


def find_task(task: str, among: Collection[str]) -> str:
    """The task of that path, else the only one with its own name; empty where there is none, or are several."""
    alike = [other for other in among if own_name(other) == own_name(task)]
    return task if task in among else alike[0] if len(alike) == 1 else ""


def is_around(name: str) -> bool:
    """Whether a node is one of those that stand around tasks, by the last part of its path."""
    return bool(_AROUND.fullmatch(name) or _ITERATION.match(name))


@dataclass(frozen=True)
class Task:
    """A task that runs a container, or imports an artifact.

    Attributes:
        name: Its path.
        title: Its display name, with the path behind it where another task has the same.
        image: That its container runs; empty for an importer.
        cached: Whether it comes from the cache where nothing has changed.
        room: The component's folder whose launch it runs, `train`; empty for components that are not ours.
    """

    name: str
    title: str
    image: str
    cached: bool
    room: str


def tasks_of(spec: Any) -> dict[str, Task]:
    """Tasks by name, each behind what it waits for, those of inner DAGs in its place.

    Args:
        spec: A pipeline spec, as a document or as kfp's message.

    Raises:
        InvalidSpec: tasks wait for each other in a circle, which kfp's compiler lets through.
    """
    if not isinstance(spec, Mapping):
        from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

        spec = MessageToDict(spec)
    leaves = _leaves(spec, (spec.get("root") or {}).get("dag") or {}, ())
    titles = distinct({name: _title(name, task) for name, task in leaves.items()})
    return {name: _read(spec, name, task, titles[name]) for name, task in leaves.items()}


def titles_of(spec: Any) -> dict[str, str]:
    """Tasks by name, with what they are called on screens."""
    return {name: task.title for name, task in tasks_of(spec).items()}


def distinct(titles: Mapping[str, str]) -> dict[str, str]:
    """Titles that can be told apart: a name in place of a missing one, and behind one that several have."""
    often = Counter(titles.values())
    return {
        name: title if title and often[title] == 1 else f"{title} ({name})" if title else name
        for name, title in titles.items()
    }


def _leaves(spec: Mapping[str, Any], dag: Mapping[str, Any], around: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    tasks: dict[str, Any] = dict(dag.get("tasks") or {})
    leaves: dict[str, Mapping[str, Any]] = {}
    done: set[str] = set()

    def place(name: str, waiting: tuple[str, ...] = ()) -> None:
        if name in waiting:
            circle = " waits for ".join((*waiting[waiting.index(name) :], name))
            raise InvalidSpec(f"tasks wait for each other: {circle}", field="pipeline", fix="take one `after` out")
        if name in done or name not in tasks:
            return
        for before in sorted(tasks[name].get("dependentTasks") or []):
            place(before, (*waiting, name))
        done.add(name)
        inner = _component(spec, tasks[name]).get("dag")
        path = (*around, name)
        leaves.update(_leaves(spec, inner, path) if inner else {Place.within(path).name: tasks[name]})

    for name in sorted(tasks):
        place(name)
    return leaves


def _component(spec: Mapping[str, Any], task: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict((spec.get("components") or {}).get((task.get("componentRef") or {}).get("name")) or {})


def _title(name: str, task: Mapping[str, Any]) -> str:
    """Empty where it is only the task's own name again."""
    title = str((task.get("taskInfo") or {}).get("name") or "")
    return "" if title == own_name(name) else title


def _read(spec: Mapping[str, Any], name: str, task: Mapping[str, Any], title: str) -> Task:
    executors = (spec.get("deploymentSpec") or {}).get("executors") or {}
    container = (executors.get(_component(spec, task).get("executorLabel")) or {}).get("container") or {}
    words = " ".join(str(word) for key in ("command", "args") for word in container.get(key) or ())
    room = _ROOM.search(words)
    cached = bool((task.get("cachingOptions") or {}).get("enableCache"))
    return Task(name, title, str(container.get("image", "")), cached, room[1] if room else "")
