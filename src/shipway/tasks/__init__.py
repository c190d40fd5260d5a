"""Tasks: what a prediction is, how it is learned, judged, answered and shown."""

from __future__ import annotations

from importlib import import_module
from inspect import getattr_static
from typing import TYPE_CHECKING

from shipway.errors import InvalidSpec
from shipway.tasks.base import Metric, Task, primary

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Recipe

SHIPPED = ("classification", "regression", "spans", "tagging")
PARTS = ("name", "metrics", "labels", "head", "answers", "evaluation")

__all__ = ["SHIPPED", "Metric", "Task", "classes_in", "is_share", "load_task", "primary", "task_of"]


def load_task(name: str) -> Task:
    """A shipped task.

    Raises:
        InvalidSpec: none of that name.
    """
    if name not in SHIPPED:
        raise InvalidSpec("unknown task", field="task", given=name, allowed=(*SHIPPED, "a recipe's own object"))
    task: Task = import_module(f"shipway.tasks.{name}").task
    return task


def task_of(recipe: Recipe) -> Task:
    """The task that a recipe states: by name, or as an object of its own.

    Raises:
        InvalidSpec: neither.
    """
    stated = recipe.task
    if isinstance(stated, str):
        return load_task(stated)
    # Not isinstance: before Python 3.12 it computes each side, where the packages that it needs may be absent.
    if missing := [part for part in PARTS if getattr_static(stated, part, None) is None]:
        raise InvalidSpec(
            f"its task is a {type(stated).__name__} without {', '.join(missing)}",
            field=f"recipe {recipe.name}",
            allowed="a name or a Task",
        )
    return stated


def is_share(metric: str) -> bool:
    """Whether a shipped task calls a share so, which is shown as a percentage."""
    infos = (load_task(name).metrics.get(metric) for name in SHIPPED)
    return any(info.is_share for info in infos if info is not None)


def classes_in(task: Task, labels: pl.Series) -> set[str]:
    """Classes that occur in labels; empty where the task has none."""
    classes = task.labels.classes(labels)
    return set() if classes is None else set(classes.explode(empty_as_null=False).unique())
