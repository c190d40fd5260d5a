"""A recipe's task: a name, or an object whose sides are imported only where they are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from shipway.errors import InvalidSpec
from shipway.tasks import load_task, task_of
from tests.fixtures import other_tasks, toy


class Lazy:
    """Brings sides that this process could not import."""

    name = "lazy"
    metrics: dict[str, Any] = {}  # noqa: RUF012

    @property
    def head(self) -> Any:
        raise ImportError("no TensorFlow here")

    labels = answers = evaluation = head


def recipe_of(task: Any) -> Any:
    return other_tasks.WordRecipe("mine", task)


def test_a_task_is_named_or_brought_along() -> None:
    assert task_of(toy.recipe) is load_task("classification")
    task = Lazy()
    assert task_of(recipe_of(task)) is task


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("clasification", "unknown task 'clasification'.*did you mean 'classification'"),
        (7, "its task is a int without name, metrics, labels, head, answers, evaluation"),
        (type("Half", (Lazy,), {"head": None})(), "its task is a Half without head; expected a name or a Task"),
    ],
)
def test_what_is_no_task_is_refused_in_one_line(task: Any, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        task_of(recipe_of(task))
