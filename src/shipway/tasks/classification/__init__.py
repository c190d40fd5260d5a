"""Task `classification`: one of the known labels, or none of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shipway.tasks.base import Metric

if TYPE_CHECKING:
    from shipway.tasks.base import Answers, Evaluation, Labels, TrainingHead


class Classification:
    """Implements `shipway.tasks.Task`."""

    name = "classification"
    metrics = {  # noqa: RUF012
        "accuracy": Metric("Accuracy", has_interval=True),
        "macro_f1": Metric("Macro F1", has_interval=True),
        "weighted_f1": Metric("Weighted F1", has_interval=True),
        "log_loss": Metric("Log loss", is_share=False, lower_is_better=True, about="0 is certain and right"),
        "ece": Metric(
            "Calibration error", lower_is_better=True, about="ECE: how far its probabilities are from the truth"
        ),
        "coverage": Metric("Coverage", about="rows that it answers with a label"),
        "covered_accuracy": Metric("Accuracy of what is answered", about="of the rows that it answers"),
        "unknown_label_rate": Metric("Rows of unknown labels", lower_is_better=True, about="labels that it never saw"),
        "accuracy_all_rows": Metric("Accuracy, rows left out as wrong"),
    }

    @cached_property
    def labels(self) -> Labels:
        from shipway.tasks.classification.labels import ClassLabels

        return ClassLabels()

    @cached_property
    def head(self) -> TrainingHead:
        from shipway.tasks.classification.training import Head

        return Head()

    @cached_property
    def answers(self) -> Answers:
        from shipway.tasks.classification.answers import ClassificationAnswers

        return ClassificationAnswers()

    @cached_property
    def evaluation(self) -> Evaluation:
        from shipway.tasks.classification.evaluation import ClassificationEvaluation

        return ClassificationEvaluation()


task = Classification()
