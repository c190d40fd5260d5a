"""Task `regression`: one number a row."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shipway.tasks.base import Metric

if TYPE_CHECKING:
    from shipway.tasks.base import Answers, Evaluation, Labels, TrainingHead


class Regression:
    """Implements `shipway.tasks.Task`."""

    name = "regression"
    metrics = {  # noqa: RUF012
        "rmse": Metric("RMSE", False, True, True, "root of the mean squared error: large errors count most"),
        "mae": Metric("MAE", False, True, True, "mean of how far its answers are from the truth"),
        "r2": Metric("R²", False, False, True, "1 is exact, 0 no better than the rows' own mean"),
        "mean_error": Metric("Mean error", False, True, True, "above 0: its answers are too high on average"),
        "max_error": Metric("Largest error", False, True),
    }

    @cached_property
    def labels(self) -> Labels:
        from shipway.tasks.regression.labels import NumberLabels

        return NumberLabels()

    @cached_property
    def head(self) -> TrainingHead:
        from shipway.tasks.regression.training import Head

        return Head()

    @cached_property
    def answers(self) -> Answers:
        from shipway.tasks.regression.answers import RegressionAnswers

        return RegressionAnswers()

    @cached_property
    def evaluation(self) -> Evaluation:
        from shipway.tasks.regression.evaluation import RegressionEvaluation

        return RegressionEvaluation()


task = Regression()
