"""What the training loop needs to know: `FitSpec`, and the document that a replica is started with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from shipway.artifacts import Uri
from shipway.code.reference import Code
from shipway.errors import InvalidSpec
from shipway.recipes import FitsItself, load_recipe
from shipway.recipes.own_fit import OF_ONE_GRAPH, strategies_of
from shipway.specs import Spec, parse
from shipway.tasks import task_of
from shipway.tasks.base import MeasuresServed

if TYPE_CHECKING:
    from shipway.recipes import Recipe
    from shipway.tasks import Task

Strategy = Literal["single", "mirrored", "multi_worker", "parameter_server", "horovod"]
Asked = Literal[Strategy, "auto"]
DISTRIBUTED = ("multi_worker", "parameter_server", "horovod")
AUTO: Final = "auto"
Workers = Annotated[
    int,
    BeforeValidator(lambda value: 0 if value == AUTO else value),
    Field(ge=0, le=512, description="training replicas, the chief among them; auto or 0: what is fastest"),
]


class EarlyStopping(Spec):
    """Stops when the metric on the eval split has not improved for `patience` checkpoints; the best weights win."""

    metric: Annotated[
        str, Field(description="what is watched: `val_loss`, `val_<metric>` of the recipe's task, or `auto`: its first")
    ] = AUTO
    patience: Annotated[int, Field(ge=1)] = 3
    min_delta: Annotated[float, Field(ge=0)] = 0.0


def reported_metrics(recipe: Recipe) -> tuple[str, ...]:
    """Names of what every training of a recipe reports after each interval, the most telling first."""
    head = task_of(recipe).head
    of_batches = () if isinstance(recipe, FitsItself) else (*head.batch_metrics, "loss")
    return (*(f"val_{name}" for name in head.metrics), "val_loss", *of_batches)


def end_metrics(task: Task) -> tuple[str, ...]:
    """Names of what a trial reports besides, when it has ended."""
    return f"val_{next(iter(task.head.metrics))}_stderr", "steps"


def is_lower_better(task: Task, name: str) -> bool:
    """Whether less is better of a reported metric."""
    metric = task.head.metrics.get(name.removeprefix("val_"))
    return "loss" in name if metric is None else metric.lower_is_better


def check_workers(strategy: str, workers: int) -> None:
    """Refuses a number of workers that a strategy cannot have; 0 and `auto` are chosen later.

    Raises:
        ValueError: says which it can.
    """
    if strategy == AUTO or workers == 0:
        return
    if strategy not in DISTRIBUTED and workers != 1:
        raise ValueError(
            f"workers {workers} with strategy {strategy!r}: it runs in one replica; set workers to 1, or "
            f"strategy to {', '.join(DISTRIBUTED[:-1])} or {DISTRIBUTED[-1]}"
        )
    if strategy in DISTRIBUTED and workers < 2:
        raise ValueError(
            f"workers {workers} with strategy {strategy!r}: it needs at least 2; raise workers, or set "
            "strategy to single"
        )


class FitSpec(Spec):
    """How a model is trained, wherever that happens."""

    name: Annotated[str, Field(description="the model's name: registry, champion and endpoint are per name")] = ""
    recipe: Annotated[
        str, Field(description="`intents`, `entities`, `images`, `image_tags` or a user's `package.module:name`")
    ] = "intents"
    code: Code = ""
    params: Annotated[dict[str, Any], Field(description="the recipe's Params")] = Field(default_factory=dict)
    strategy: Annotated[Asked, Field(description="how replicas work together; auto: what is fastest")] = "single"
    workers: Workers = 1
    parameter_servers: Annotated[
        int, Field(ge=1, le=64, description="replicas that hold the variables, spread over them; parameter_server only")
    ] = 1
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
        check_workers(self.strategy, self.workers)
        if self.parameter_servers != 1 and self.strategy != "parameter_server":
            raise ValueError(
                f"parameter_servers {self.parameter_servers} with strategy {self.strategy!r}: only "
                "parameter_server has some; leave it out, or set strategy to parameter_server"
            )
        if self.gradient_compression != "none" and self.strategy not in ("horovod", AUTO):
            raise ValueError(
                f"gradient_compression {self.gradient_compression!r} with strategy {self.strategy!r}: only horovod "
                "compresses gradients; leave it out"
            )
        if self.mixed_precision and (self.strategy == "horovod" or self.gradient_compression != "none"):
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
    first, *others = (*(f"val_{name}" for name in task.head.metrics), "val_loss")
    name = spec.early_stopping.metric if spec.early_stopping else AUTO
    if name == AUTO:
        return first
    allowed = (AUTO, first, *others)
    if name not in allowed:
        raise InvalidSpec(
            f"no training of {spec.recipe!r} reports a metric",
            field="training.early_stopping.metric",
            given=name,
            allowed=allowed,
        )
    return name


# What only Shipway's own loop can honour: a fit of a recipe's own decides by itself.
OF_THE_LOOP = (
    "steps",
    "checkpoint_steps",
    "mixed_precision",
    "gradient_compression",
    "input",
    "memory_limit_mb",
    "stall_timeout_s",
)


def check_training(spec: FitSpec) -> None:
    """Refuses what the recipe cannot be trained by: what a strategy needs of it, what a fit of its own needs.

    Raises:
        InvalidSpec: names the field, what is missing, and what to do.
    """
    recipe = load_recipe(spec.recipe)
    task = task_of(recipe)
    watched_metric(spec, task)
    known = get_args(Strategy)
    allowed = strategies_of(recipe, known)
    fits_itself = isinstance(recipe, FitsItself)
    if spec.strategy not in (AUTO, *allowed):
        needs = (
            f"{spec.strategy!r} needs a tf_keras model (build_model and compile_model), and recipe {spec.recipe!r} "
            "fits by itself"
            if fits_itself
            else f"recipe {spec.recipe!r} cannot do {spec.strategy!r}"
        )
        raise InvalidSpec(
            needs,
            field="training.strategy",
            allowed=(
                " or ".join(allowed)
                if fits_itself and spec.strategy in OF_ONE_GRAPH
                else f"{' or '.join(allowed)}. A recipe names what else it can do: strategies = "
                f"{(*allowed, spec.strategy)!r}"
            ),
        )
    if not fits_itself:
        return
    for field in OF_THE_LOOP:
        if getattr(spec, field) != FitSpec.model_fields[field].default:
            raise InvalidSpec(
                f"recipe {spec.recipe!r} fits by itself, and only trainings of a tf_keras model honour it",
                field=f"training.{field}",
                given=spec.recipe,
                fix="leave it out, or make it one of the recipe's Params",
            )
    if not isinstance(task.head, MeasuresServed):
        raise InvalidSpec(
            f"{spec.recipe!r} fits by itself, and the head of its task {task.name!r} lacks served and "
            "served_sums (shipway.tasks.base.MeasuresServed), by which a model of any framework is "
            "measured",
            field="training.recipe",
        )


class TrainingDocument(Spec):
    """What a replica or a trial is started with: SHIPWAY_TRAINING, as JSON."""

    spec: FitSpec
    dataset_uri: Annotated[Uri, Field(description="folder of the dataset, which holds manifest.json")]
    output_uri: Annotated[
        Uri | None, Field(description="jobs/<job>, of a trial where its checkpoints are; none: nothing is kept")
    ] = None
    lease_s: Annotated[float, Field(ge=0, description="0: no lease is asked for")] = 0
    image: str = ""
