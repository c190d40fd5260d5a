"""The task protocol: everything that the suite must be told of a kind of prediction.

A recipe states its task by name (`classification`) or brings an object of its own; no other module knows what a label,
an argmax or an accuracy is. A task is seen from four sides, each a small object that is imported where it is needed:

| side | asked by | runs where |
|---|---|---|
| `Labels` | prep | the launcher's pod: what the label column holds, as text, and as tensors to learn from |
| `TrainingHead` | training, export | replicas, with TensorFlow: what is measured, and what the served model gives |
| `Answers` | predictor, deploy.check, CLI | anywhere, NumPy alone: tensors to predictions to JSON |
| `Evaluation` | evaluate, the gate, cards, pages | the launcher's pod: figures, comparison, rules, what a person sees |

A figure of an evaluation is a function of sums over rows wherever that can be: then intervals, slices, baselines and
the comparison with the champion are the suite's own (`shipway.measuring`), whatever the task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.artifacts import FeatureSpec
from shipway.recipes.arrays import Columns, Encoded

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_array

    from shipway.artifacts import EvaluationRecord, RuleResult
    from shipway.inputs.base import Format, Input
    from shipway.pages import Report
    from shipway.recipes.base import Encoder
    from shipway.tasks.evaluated import Baseline, Evaluated, Read, ScoredSplit

Documents = list[dict[str, Any]]

# What stands behind the shorter rows of a batch in a target of variable length: no class id, no number, so a loss can
# tell it from a value (Keras: `ignore_class=-1`). Features are padded with 0.
TARGET_PADDING: dict[str, Any] = {"int64": -1, "float32": math.nan}


@dataclass(frozen=True)
class Metric:
    """One figure of an evaluation, as policies, pages and screens need to know it.

    Attributes:
        title: For people.
        is_share: From 0 to 1, shown as a percentage.
        lower_is_better: Then a bare number in a policy is a ceiling.
        has_interval: It is a function of sums over rows (`Evaluation.metrics`), so that it has an interval and can be
            compared with the champion's on the same rows.
        about: What it means, in a few words for a page.
    """

    title: str
    is_share: bool = True
    lower_is_better: bool = False
    has_interval: bool = False
    about: str = ""


class Labels(Protocol):
    """What the label column holds.

    Attributes:
        Params: The section `dataset.labels`.
        least_classes: How many of them training needs; 0 where labels have none.
    """

    Params: type[BaseModel]
    least_classes: int

    def read(self, cells: pl.Expr, params: BaseModel) -> tuple[pl.Expr, pl.Expr]:
        """Two expressions over the label column: the label as text in its one form, and why a row is bad (else null).

        The text is what rows keep in their column `label`, what is hashed, and what `encode` gets; read again it stays
        as it is.
        """
        ...

    def classes(self, labels: pl.Series) -> pl.Series | None:
        """Classes that each label names, list of strings a row; None where labels have none (a number).

        Rows of eval and test whose classes train never saw are handled by `dataset.on_unseen_label`.
        """
        ...

    def notes(self, counts: Mapping[str, int]) -> list[str]:
        """What a person should know of the classes, given rows by class: alike to the eye, marks of a missing value."""
        ...

    def targets(self, encoder: Encoder) -> dict[str, FeatureSpec]:
        """Tensors of a record beside the encoder's features, int64 or float32; each name begins with `label`.

        One of variable length is padded by `TARGET_PADDING`: a target that follows the length of a feature, as a tag
        for each token does, has that feature's width in every batch.
        """
        ...

    def encode(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any], encoded: Encoded) -> Encoded:
        """The targets of a chunk of rows, whose classes the encoder knows.

        Args:
            encoder: The recipe's.
            labels: As `read` gives them.
            values: The rows' inputs, as the encoder got them.
            encoded: What it made of them, as the records hold it: packed, where the encoder packs.
        """
        ...


@runtime_checkable
class TellsChanges(Protocol):
    """What labels may offer beside `Labels` where their one form is hardly ever the source's: which ones prep tells."""

    def is_changed(self, given: pl.Series, labels: pl.Series) -> pl.Series:
        """Whether a label names something that its cell does not, booleans.

        Args:
            given: Cells of the source, stripped.
            labels: As `read` gives them.
        """
        ...


@runtime_checkable
class ChecksInputs(Protocol):
    """What labels may offer beside `Labels`: a look at a row's label and input together; prep asks for it."""

    def fitted(self, labels: pl.Series, values: Sequence[Any]) -> tuple[pl.Series, pl.Series]:
        """The labels as they fit their rows' inputs, and why one does not: strings, null where it does.

        Args:
            labels: As `read` gives them, of rows that are good so far.
            values: The same rows' inputs, as the encoder gets them.
        """
        ...


@runtime_checkable
class TellsUnanswerable(Protocol):
    """What labels may offer beside `Labels` where an encoder may leave out what a label names; prep tells it."""

    def unanswerable(self, encoder: Encoder, labels: Sequence[str], values: Sequence[Any]) -> Mapping[str, int]:
        """What of a chunk of rows no answer can match: why, as it stands behind "3 rows have ", and how many rows.

        Args:
            encoder: The recipe's.
            labels: As `read` gives them.
            values: The same rows' inputs, as the encoder gets them.
        """
        ...


@runtime_checkable
class BringsFormats(Protocol):
    """What labels may offer beside `Labels`: files of rows with their labels, as tools of this task write them.

    Attributes:
        formats: By the name that `dataset.format` may hold, beside the input's.
    """

    formats: Mapping[str, Format]


@runtime_checkable
class TakesLists(Protocol):
    """What labels may offer beside `Labels`: lists in the label column of JSON lines and Parquet.

    Attributes:
        takes_lists: `read` then gets them as their JSON text; without it they make a bad row.
    """

    takes_lists: bool


class TrainingHead(Protocol):
    """What the training loop measures, and what the trained model serves. Methods import TensorFlow.

    A model gives one tensor or a dict of them; outputs reach these methods as it gave them, in training as bfloat16
    where the spec asks for mixed precision. The loss is the recipe's: it gets the target itself where there is one, as
    Keras' losses expect, else all of them by name.

    Attributes:
        metrics: Names of what `totals` gives beside `loss`, and which way each is better. The best weights, early
            stopping and sweeps go by the first where a spec says nothing else.
        batch_metrics: Names of what `batch` gives.
    """

    metrics: Mapping[str, Metric]
    batch_metrics: Sequence[str]

    def batch(self, outputs: Any, targets: Mapping[str, Any]) -> dict[str, Any]:
        """Scalars of one training batch, for the progress line: their mean over steps and workers is shown.

        Part of the compiled step, so cheap ones.

        Args:
            outputs: What the model gives in training.
            targets: The batch's target tensors by name, as `Labels.targets` states them, padded (`TARGET_PADDING`).
        """
        ...

    def sums(self, outputs: Any, targets: Mapping[str, Any]) -> Any:
        """Float64 vector of a fixed length that is added up over the batches of an evaluation and over workers."""
        ...

    def totals(self, sums: NDArray[np.float64]) -> dict[str, float]:
        """`loss` and `metrics`, from the whole split's sums; finite numbers."""
        ...

    def stderr(self, sums: NDArray[np.float64]) -> float:
        """Standard error of the first metric, from the same sums, for a sweep that asks whether a trial is ahead.

        0 where it cannot be told: then every difference counts.
        """
        ...

    def calibrate(self, outputs: Any, targets: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Constants of the served function, found on rows of the eval split; kept in the model's manifest.

        Args:
            outputs: What the model gives, of many batches: an array, or a dict of arrays; those of batches of another
                length are padded with 0 behind.
            targets: Arrays by name, padded as in a batch.
        """
        ...

    def serve(self, outputs: Any, constants: Mapping[str, float]) -> dict[str, Any]:
        """The served tensors by name, first dimension the batch."""
        ...


@runtime_checkable
class MeasuresServed(Protocol):
    """What a head may offer beside `TrainingHead`: the same sums from what is served, with NumPy alone.

    Recipes that fit a model of another framework ask for it, where there is neither TensorFlow nor a logit.
    """

    def served(self, labels: Sequence[str]) -> dict[str, list[int | None]]:
        """Name and shape, beyond the batch's dimension, of each tensor that `serve` gives; None for rows' length.

        Args:
            labels: The encoder's classes.
        """
        ...

    def served_sums(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """As `TrainingHead.sums`, which `totals` and `stderr` take.

        Args:
            outputs: The served tensors of one batch.
            targets: Its targets, padded as in training.
        """
        ...


class Answers(Protocol):
    """From the served tensors to what a caller reads. NumPy alone: the predictor's image holds little else.

    Attributes:
        Params: What a request's `parameters` may ask; a default for each. A request may use the names of its fields; a
            refusal says "must be" and the field's description, where it has one.
        Settings: What an endpoint is set to (`endpoint.answers`), such as a threshold; a default for each, which means
            what evaluation found (`Evaluation.settings`).
        tensors: V2 outputs: name -> datatype and shape.
    """

    Params: type[BaseModel]
    Settings: type[BaseModel]
    tensors: Mapping[str, tuple[str, list[int]]]

    def decode(
        self, encoder: Encoder, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """Predictions of one batch, an item a row: what evaluation keeps and what the other methods take.

        Args:
            encoder: The recipe's.
            outputs: The served tensors.
            inputs: The encoded, padded batch that they answer.
        """
        ...

    def documents(self, labels: Sequence[str], columns: Columns, params: BaseModel, settings: BaseModel) -> Documents:
        """The JSON answers, one by row; their numbers may be NumPy's."""
        ...

    def outputs(
        self, labels: Sequence[str], columns: Columns, params: BaseModel, settings: BaseModel
    ) -> dict[str, NDArray[Any]]:
        """The V2 outputs by the names of `tensors`; strings as object arrays."""
        ...

    def line(self, answer: Mapping[str, Any]) -> list[str]:
        """An answer as cells of a table in a terminal, under `headings`."""
        ...

    @property
    def headings(self) -> list[str]:
        """Of `line`'s cells."""
        ...

    def everything(self) -> BaseModel:
        """Params with which an answer holds all that was kept, for `differences`."""
        ...

    def differences(
        self, labels: Sequence[str], expected: Columns, served: Documents, tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How far served answers are from kept predictions: largest difference of a number by row (infinite where they
        cannot be compared), and whether the answer is the same within the tolerance."""
        ...


@runtime_checkable
class LocatesAnswers(Protocol):
    """What answers may offer beside `Answers`: places within the caller's own value, which tensors do not hold."""

    def locate(self, encoder: Encoder, columns: Columns, values: Sequence[Any]) -> Columns:
        """Predictions whose places are those of the values.

        Args:
            encoder: The recipe's.
            columns: As `decode` gives them.
            values: The same rows' inputs, as the encoder got them.
        """
        ...


@runtime_checkable
class QuotesInput(Protocol):
    """What answers may offer beside `Answers`: their cells in words of what was asked, where an answer holds places."""

    def quoted(self, answer: Mapping[str, Any], line: str) -> list[str]:
        """As `line` gives them.

        Args:
            answer: To one instance.
            line: As a person typed the instance.
        """
        ...


class Evaluation(Protocol):
    """Figures, comparison and rules.

    What `headline`, `limits`, `facts` and `settings` give is asked once, when the rows are scored, and kept in the
    record: screens, cards and deployments read it there.

    Attributes:
        Params: The section `evaluation.task`.
        Rules: The section `promotion.task`.
        baselines: Names that `evaluation.baselines` may hold, in the order of pages -> title, "most frequent label".
    """

    Params: type[BaseModel]
    Rules: type[BaseModel]
    baselines: Mapping[str, str]

    def frame(self, labels: Sequence[str], columns: Columns, truth: pl.Series) -> pl.DataFrame:
        """Columns that describe each prediction beside its truth, kept with the predictions; narrow: a text, a number.
        One that has the name of a part of the predictions is that part.

        Args:
            labels: The model's classes.
            columns: As `Answers.decode` gives them.
            truth: Label texts.
        """
        ...

    def statistics(self, rows: pl.DataFrame, classes: Sequence[str]) -> csr_array:
        """What `metrics` needs of each row, float64 (n, k), where k depends on the number of classes alone.

        Args:
            rows: `label` and `frame`'s columns.
            classes: All classes that occur, in one numbering: the model's or others'.
        """
        ...

    def metrics(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Metrics with an interval, from sums of `statistics`, shape (m, k) -> (m,) each; the task's first is one.

        Finite also where there are no rows: a slice or a resample may be small.
        """
        ...

    def credit(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """How well each row is answered; larger is better: 1 and 0 where an answer is right or wrong."""
        ...

    def measure(self, scored: ScoredSplit, params: BaseModel) -> Evaluated:
        """All that is not a function of sums: further metrics, and details for the page, the rules and the endpoint."""
        ...

    def fit_baseline(self, name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Baseline | None:
        """A baseline fitted on training rows; None where it does not apply (one class, another input)."""
        ...

    def judge(self, rules: BaseModel, record: EvaluationRecord, read: Read) -> Iterator[RuleResult]:
        """The task's own rules of a promotion policy; `read` gives the files that `measure` left beside the record."""
        ...

    def settings(self, record: EvaluationRecord) -> dict[str, Any]:
        """What the endpoint is set to because of this evaluation (`Answers.Settings`), such as its threshold."""
        ...

    def facts(self, record: EvaluationRecord) -> dict[str, Any]:
        """What the run's summary holds beyond metrics, intervals and baselines; JSON. A list of mappings is a table on
        screens, its columns sorted by name."""
        ...

    def headline(self, record: EvaluationRecord) -> list[str]:
        """Up to three sentences for screens, notifications and the model's card."""
        ...

    def limits(self, record: EvaluationRecord) -> list[str]:
        """Sentences for the card on what a person should know before using the model: where it is weak."""
        ...

    def sections(self, page: Report, record: EvaluationRecord, read: Read) -> None:
        """The evaluation page's own sections, between baselines and slices."""
        ...

    def matrix(self, record: EvaluationRecord, read: Read) -> tuple[list[str], list[list[int]]] | None:
        """Classes and a confusion matrix, rows are true classes, for Kubeflow's own view; None where there is none."""
        ...


class Task(Protocol):
    """What a prediction is.

    Attributes:
        name: Stands in manifests and messages.
        metrics: Of an evaluation by name; the first is what baselines and champions are compared by.
    """

    name: str
    metrics: Mapping[str, Metric]

    @property
    def labels(self) -> Labels: ...

    @property
    def head(self) -> TrainingHead: ...

    @property
    def answers(self) -> Answers: ...

    @property
    def evaluation(self) -> Evaluation: ...


def primary(task: Task) -> str:
    """Name of the metric that models are compared by."""
    return next(iter(task.metrics))
