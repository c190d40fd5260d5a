"""Task `spans`: pieces of a text that name something, each with a type: a place, a number, a song."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shipway.tasks.base import Metric

if TYPE_CHECKING:
    from shipway.tasks.base import Answers, Evaluation, Labels, TrainingHead


class Spans:
    """Implements `shipway.tasks.Task`."""

    name = "spans"
    metrics = {  # noqa: RUF012
        "f1": Metric("Entity F1", has_interval=True, about="of spans with the right bounds and type"),
        "precision": Metric("Precision", has_interval=True, about="of its spans, those that are right"),
        "recall": Metric("Recall", has_interval=True, about="of the true spans, those that it finds"),
        "macro_f1": Metric("Macro F1", has_interval=True, about="mean over types"),
        "macro_precision": Metric("Macro precision", has_interval=True, about="mean over types"),
        "macro_recall": Metric("Macro recall", has_interval=True, about="mean over types"),
        "exact_rows": Metric("Rows without a mistake", has_interval=True),
    }

    @cached_property
    def labels(self) -> Labels:
        from shipway.tasks.spans.labels import SpanLabels

        return SpanLabels()

    @cached_property
    def head(self) -> TrainingHead:
        from shipway.tasks.spans.training import Head

        return Head()

    @cached_property
    def answers(self) -> Answers:
        from shipway.tasks.spans.answers import SpanAnswers

        return SpanAnswers()

    @cached_property
    def evaluation(self) -> Evaluation:
        from shipway.tasks.spans.evaluation import SpansEvaluation

        return SpansEvaluation()


task = Spans()
