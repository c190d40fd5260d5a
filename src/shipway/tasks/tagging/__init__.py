"""Task `tagging`: any number of the known tags, each with a score of its own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shipway.tasks.base import Metric

if TYPE_CHECKING:
    from shipway.tasks.base import Answers, Evaluation, Labels, TrainingHead


class Tagging:
    """Implements `shipway.tasks.Task`."""

    name = "tagging"
    metrics = {  # noqa: RUF012
        "micro_f1": Metric("Micro F1", has_interval=True, about="of all tags together, those of a score from 0.5"),
        "macro_f1": Metric("Macro F1", has_interval=True, about="mean over tags"),
        "micro_precision": Metric("Precision", has_interval=True, about="of the tags that it names"),
        "micro_recall": Metric("Recall", has_interval=True, about="of the tags that rows have"),
        "subset_accuracy": Metric("Rows with all tags right", has_interval=True),
        "hamming_loss": Metric(
            "Hamming loss", lower_is_better=True, has_interval=True, about="of all questions whether a row has a tag"
        ),
        "mean_average_precision": Metric("Mean average precision", about="mAP: over tags, whatever the threshold"),
        "threshold_f1": Metric("Micro F1 at the threshold", about="as an endpoint answers"),
        "threshold_precision": Metric("Precision at the threshold", about="of the tags that an endpoint names"),
        "threshold_recall": Metric("Recall at the threshold", about="of the tags that rows have"),
        "unknown_label_rate": Metric("Rows of unknown tags", lower_is_better=True, about="tags that it never saw"),
    }

    @cached_property
    def labels(self) -> Labels:
        from shipway.tasks.tagging.labels import TagLabels

        return TagLabels()

    @cached_property
    def head(self) -> TrainingHead:
        from shipway.tasks.tagging.training import Head

        return Head()

    @cached_property
    def answers(self) -> Answers:
        from shipway.tasks.tagging.answers import TaggingAnswers

        return TaggingAnswers()

    @cached_property
    def evaluation(self) -> Evaluation:
        from shipway.tasks.tagging.evaluation import TaggingEvaluation

        return TaggingEvaluation()


task = Tagging()
