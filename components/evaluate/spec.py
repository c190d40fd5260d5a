"""`EvaluationSpec`: what `evaluate.model` measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field

from shipway.code.reference import Code
from shipway.errors import InvalidSpec, nearest
from shipway.specs import Spec, parse

if TYPE_CHECKING:
    from shipway.tasks import Task


class EvaluationSpec(Spec):
    """What is measured, and on which rows."""

    split: Literal["train", "eval", "test"] = "test"
    slices: list[str] = Field(default_factory=list)
    """Columns of the rows; each of their values is measured by itself."""
    max_slice_values: Annotated[int, Field(ge=1, le=1000)] = 20
    """Values of a column that are measured: those with the most rows."""
    baselines: list[str] | None = None
    """Names of the task's baselines; null: all of them."""
    baseline_rows: Annotated[int, Field(ge=1, le=200_000)] = 200_000
    """Baselines are fitted on at most this many training rows, a sample of them otherwise."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Resamples of the confidence intervals, drawn over groups; 0 leaves the intervals out."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the confidence intervals."""
    batch_size: Annotated[int, Field(ge=1, le=8192)] = 256
    """Rows in one inference."""
    seed: int = 0
    task: dict[str, Any] = Field(default_factory=dict)
    """The task's own settings; docs/evaluation.md has those of classification."""
    recipes: list[str] = Field(default_factory=list)
    """Recipes besides the shipped ones that the model's manifest may name; `plan` puts the run's own here."""
    code: Code = ""
    """Your own code, `ADDRESS#sha256=HASH`, that the recipe is in."""


def check_evaluation(spec: EvaluationSpec, task: Task) -> tuple[list[str], BaseModel]:
    """What only the task can check.

    Returns:
        The baselines, in the task's order, and its own settings.

    Raises:
        InvalidSpec: a baseline or a setting that the task does not have.
    """
    known = list(task.evaluation.baselines)
    for position, name in enumerate(spec.baselines or ()):
        check_baseline(name, known, f"evaluation.baselines[{position}]")
    wanted = known if spec.baselines is None else [name for name in known if name in spec.baselines]
    return wanted, parse(task.evaluation.Params, spec.task, "evaluation.task")


def check_baseline(name: str, known: list[str], where: str) -> None:
    """Refuses a name that is no baseline of the task."""
    if name not in known:
        expected = f"expected one of {', '.join(known)}{nearest(name, known)}" if known else "this task has none"
        raise InvalidSpec(f"unknown baseline {name!r}; {expected}", field=where, given=name)
