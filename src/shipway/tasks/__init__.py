"""Tasks: what a prediction is, how it is learned, judged, answered and shown."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from shipway.errors import InvalidSpec, nearest
from shipway.tasks.base import Metric, Task, primary

if TYPE_CHECKING:
    import polars as pl

    from shipway.recipes.base import Recipe

SHIPPED = ("classification",)

__all__ = ["SHIPPED", "Metric", "Task", "classes_in", "load_task", "primary", "task_of"]


def load_task(name: str) -> Task:
    """A shipped task.

    Raises:
        InvalidSpec: none of that name.
    """
    if name not in SHIPPED:
        raise InvalidSpec(
            f"task: unknown task {name!r}; expected one of {', '.join(SHIPPED)}, or a recipe's own object"
            f"{nearest(name, SHIPPED)}"
        )
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
    if not isinstance(stated, Task):
        raise InvalidSpec(f"recipe {recipe.name}: its task is a {type(stated).__name__}; expected a name or a Task")
    return stated


def classes_in(task: Task, labels: pl.Series) -> set[str]:
    """Classes that occur in labels; empty where the task has none."""
    found = task.labels.classes(labels)
    return set() if found is None else set(found.explode(empty_as_null=False).unique())
