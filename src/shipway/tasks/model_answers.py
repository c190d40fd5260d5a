"""A task's answers for one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from shipway.artifacts import EvaluationRecord
    from shipway.recipes.arrays import Columns
    from shipway.tasks.base import Answers, Documents, Task


@dataclass(frozen=True)
class ModelAnswers:
    """What predictor and checks ask of a task: its `Answers` together with the model's classes.

    Attributes:
        answers: The task's.
        labels: Class names; empty where the task has none.
    """

    answers: Answers
    labels: list[str]

    @classmethod
    def of(cls, task: Task, evaluation: EvaluationRecord) -> ModelAnswers:
        """Of the model that was evaluated."""
        return cls(task.answers, evaluation.labels)

    def documents(self, columns: Columns, params: BaseModel, settings: BaseModel) -> Documents:
        """The JSON answers, one by row."""
        return self.answers.documents(self.labels, columns, params, settings)

    def outputs(self, columns: Columns, params: BaseModel, settings: BaseModel) -> dict[str, NDArray[Any]]:
        """The V2 outputs."""
        return self.answers.outputs(self.labels, columns, params, settings)

    def differences(
        self, expected: Columns, served: Documents, tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How far served answers are from kept predictions, and whether they are the same, by row."""
        return self.answers.differences(self.labels, expected, served, tolerance)
