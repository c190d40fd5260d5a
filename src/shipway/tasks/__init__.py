"""Tasks: what a prediction is, how it is learned, judged, answered and shown."""

from __future__ import annotations

from importlib import import_module
from inspect import getattr_static
from typing import TYPE_CHECKING

from shipway.errors import InvalidSpec, nearest
from shipway.tasks.base import Metric, Task, primary

if TYPE_CHECKING:
    from shipway.recipes.base import Recipe

SHIPPED = ("classification",)
PARTS = ("name", "metrics", "labels", "head", "answers", "evaluation")

__all__ = ["SHIPPED", "Metric", "Task", "load_task", "primary", "task_of"]


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
    # Not isinstance: that would import every side of the task, also where only one can be imported.
    missing = [part for part in PARTS if getattr_static(stated, part, None) is None]
    if missing:
        raise InvalidSpec(
            f"recipe {recipe.name}: its task is a {type(stated).__name__} without {', '.join(missing)}; expected a "
            "name or a Task"
        )
    return stated
