"""What the training loop needs to know: `FitSpec`, and the document that a replica is started with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from shipway.artifacts import Uri
from shipway.errors import InvalidSpec, nearest
from shipway.recipes import load_recipe
from shipway.specs import Spec, parse

if TYPE_CHECKING:
    from shipway.tasks import Task

Strategy = Literal["single", "mirrored", "multi_worker", "horovod"]
DISTRIBUTED = ("multi_worker", "horovod")
AUTO: Final = "auto"


class EarlyStopping(Spec):
    """Stops when the metric on the eval split has not improved for `patience` checkpoints; the best weights win."""

    metric: Annotated[
        str, Field(description="what is watched: `val_loss`, `val_<metric>` of the recipe's task, or `auto`: its first")
    ] = AUTO
    patience: Annotated[int, Field(ge=1)] = 3
    min_delta: Annotated[float, Field(ge=0)] = 0.0


def reported_metrics(task: Task) -> tuple[str, ...]:
    """Names of what every training of a task reports after each interval, the most telling first."""
    head = task.head
    return (*(f"val_{name}" for name in head.metrics), "val_loss", *head.batch_metrics, "loss")


def end_metrics(task: Task) -> tuple[str, ...]:
    """Names of what a trial reports besides, when it has ended."""
    return f"{reported_metrics(task)[0]}_stderr", "steps"


def is_lower_better(task: Task, name: str) -> bool:
    """Whether less is better of a reported metric."""
    metric = task.head.metrics.get(name.removeprefix("val_"))
    return "loss" in name if metric is None else metric.lower_is_better


class FitSpec(Spec):
    """How a model is trained, wherever that happens."""

    name: Annotated[str, Field(description="the model's name: registry, champion and endpoint are per name")] = ""
    recipe: Annotated[str, Field(description="`intents`, `entities` or a user's `package.module:name`")] = "intents"
    params: Annotated[dict[str, Any], Field(description="the recipe's Params")] = Field(default_factory=dict)
    strategy: Annotated[Strategy, Field(description="how replicas work together")] = "single"
    workers: Annotated[int, Field(ge=1, le=512, description="training replicas, the chief among them")] = 1
    epochs: Annotated[float, Field(gt=0, description="passes over the training split")] = 10
    steps: Annotated[int | None, Field(ge=1, description="optimiser steps, in place of epochs")] = None
    batch_size: Annotated[int, Field(ge=1, description="examples a step and replica")] = 64
    checkpoint_steps: Annotated[int | None, Field(ge=1, description="steps between checkpoints; none: one epoch")] = (
        None
    )
    keep_checkpoints: Annotated[int, Field(ge=2, description="older ones are deleted")] = 2
    early_stopping: EarlyStopping | None = Field(default_factory=EarlyStopping)
    mixed_precision: Annotated[bool, Field(description="bfloat16 arithmetic; not with horovod")] = False
    gradient_compression: Annotated[Literal["none", "fp16"], Field(description="horovod only")] = "none"
    input: Annotated[
        Literal["auto", "memory", "stream"],
        Field(description="hold the parsed training split in memory, or read this replica's shards again each epoch"),
    ] = "auto"
    memory_limit_mb: Annotated[int, Field(ge=1, description="`auto`: larger training splits are streamed")] = 2048
    stall_timeout_s: Annotated[
        float, Field(gt=0, description="no step for so long: the replica ends, to be retried")
    ] = 600
    seed: Annotated[int, Field(ge=0, lt=1 << 20)] = 17

    @model_validator(mode="after")
    def _honoured(self) -> Self:
        if self.strategy not in DISTRIBUTED and self.workers != 1:
            raise ValueError(
                f"workers {self.workers} with strategy {self.strategy!r}: it runs in one replica; set workers to 1, or "
                "strategy to multi_worker or horovod"
            )
        if self.strategy in DISTRIBUTED and self.workers < 2:
            raise ValueError(
                f"workers {self.workers} with strategy {self.strategy!r}: it needs at least 2; raise workers, or set "
                "strategy to single"
            )
        if self.gradient_compression != "none" and self.strategy != "horovod":
            raise ValueError(
                f"gradient_compression {self.gradient_compression!r} with strategy {self.strategy!r}: only horovod "
                "compresses gradients; leave it out"
            )
        if self.mixed_precision and self.strategy == "horovod":
            raise ValueError("mixed_precision with strategy 'horovod' is not offered; use gradient_compression: fp16")
        return self

    def recipe_params(self) -> BaseModel:
        """The recipe's validated Params.

        Raises:
            InvalidSpec: unknown recipe, or a parameter that it refuses.
        """
        return parse(load_recipe(self.recipe).Params, self.params, "training.params")


def watched_metric(spec: FitSpec, task: Task) -> str:
    """Name of the metric that the best weights and early stopping go by.

    Raises:
        InvalidSpec: no training of that task reports it.
    """
    first, *others = (name for name in reported_metrics(task) if name.startswith("val_"))
    name = spec.early_stopping.metric if spec.early_stopping else AUTO
    if name == AUTO:
        return first
    allowed = (AUTO, first, *others)
    if name not in allowed:
        raise InvalidSpec(
            f"training.early_stopping.metric: no training of {spec.recipe!r} reports a metric {name!r}; expected one "
            f"of {', '.join(allowed)}{nearest(name, allowed)}"
        )
    return name


class TrainingDocument(Spec):
    """What a replica or a trial is started with: SHIPWAY_TRAINING, as JSON."""

    spec: FitSpec
    dataset_uri: Annotated[Uri, Field(description="folder of the dataset, which holds manifest.json")]
    output_uri: Annotated[Uri | None, Field(description="jobs/<job>; none: nothing is published (a trial)")] = None
    lease_s: Annotated[float, Field(ge=0, description="0: no lease is asked for")] = 0
    image: str = ""
