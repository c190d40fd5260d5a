"""TrainingSpec: how a model is trained, and on what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from shipway.code.reference import Code
from shipway.podsecurity import DESCRIPTION, PodSecurity
from shipway.quantities import amount
from shipway.specs import Spec
from shipway.training.spec import AUTO, DISTRIBUTED, Asked, FitSpec, Strategy, Workers, check_workers

Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([kMGTP]i?|m)?$")]


MOST_GPUS = 16
Group = Literal["chief", "worker", "ps", "launcher"]


class GroupResources(Spec):
    """What the replicas of one group ask for; what is left out is as for all."""

    cpu: Annotated[Quantity | None, Field(description="cores")] = None
    memory: Quantity | None = None
    gpu: Annotated[int | None, Field(ge=0, le=MOST_GPUS, description="nvidia.com/gpu")] = None
    node_selector: Annotated[
        dict[str, str], Field(description="labels of the group's nodes, beside those of training.node_selector")
    ] = Field(default_factory=dict)


class Resources(Spec):
    """What each replica asks for, as Kubernetes writes it; requests and limits are equal."""

    cpu: Annotated[Quantity, Field(description="cores")] = "1"
    memory: Quantity = "4Gi"
    gpu: Annotated[int, Field(ge=0, le=MOST_GPUS, description="nvidia.com/gpu")] = 0
    chief: Annotated[GroupResources | None, Field(description="of the chief alone")] = None
    worker: Annotated[GroupResources | None, Field(description="of the workers beside the chief, or of ranks")] = None
    ps: Annotated[GroupResources | None, Field(description="of parameter servers, which never ask for a GPU")] = None
    launcher: Annotated[
        GroupResources | None, Field(description="of an MPIJob's launcher, which asks for 500m and 512Mi by itself")
    ] = None

    def of_one(self) -> Resources:
        """Those of a training by one replica, which is its chief."""
        return self.model_copy(update={group: None for group in get_args(Group) if group != "chief"})

    def of(self, group: Group) -> PodResources:
        """What each replica of a group asks for."""
        own = getattr(self, group) or GroupResources()
        flat = PodResources(self.cpu, self.memory, 0 if group == "ps" else self.gpu)
        whole = _LAUNCHER if group == "launcher" else flat
        return PodResources(
            cpu=own.cpu or whole.cpu,
            memory=own.memory or whole.memory,
            gpu=whole.gpu if own.gpu is None else own.gpu,
            node_selector=own.node_selector,
        )


@dataclass(frozen=True)
class PodResources:
    """What one replica asks for, and the labels that its nodes must have."""

    cpu: str
    memory: str
    gpu: int
    node_selector: dict[str, str] = field(default_factory=dict)

    @property
    def cores(self) -> float:
        """`500m` is 0.5."""
        return amount(self.cpu)


_LAUNCHER = PodResources("500m", "512Mi", 0)  # it computes nothing


def groups_of(strategy: str) -> tuple[Group, ...]:
    """The groups of replicas that a strategy's job has."""
    if strategy == "horovod":
        return "launcher", "worker"
    if strategy not in DISTRIBUTED:
        return ("chief",)
    return ("chief", "worker", "ps") if strategy == "parameter_server" else ("chief", "worker")


class JobSpec(Spec):
    """How a training's job runs."""

    image: Annotated[str, Field(description="empty: the package's own for the strategy")] = ""
    resources: Resources = Field(default_factory=Resources)
    deadline_s: Annotated[int, Field(ge=1, description="seconds until the job is ended as failed")] = 24 * 3600
    retries: Annotated[int, Field(ge=0, le=100, description="restarts of replicas, and new attempts of the job")] = 3
    lease_s: Annotated[
        float, Field(ge=5, description="a job whose launcher is gone for so long saves a checkpoint and ends")
    ] = 120
    keep_s: Annotated[int | None, Field(ge=0, description="seconds until the finished job object is deleted")] = None
    priority: Annotated[str, Field(description="priorityClassName")] = ""
    queue: Annotated[str, Field(description="of the gang scheduler or Kueue")] = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    pod_security: Annotated[PodSecurity, Field(description=DESCRIPTION)] = "restricted"
    service_account: Annotated[str, Field(description="of the replicas; empty: shipway-replica, without a token")] = ""
    store_secret: Annotated[
        str, Field(description="Secret whose keys (AWS_...) reach each replica; empty: none is asked for")
    ] = ""


class TrainingSpec(FitSpec, JobSpec):
    """What `train.job` is given: `FitSpec`, and how the job runs; strategy and workers are chosen unless given."""

    strategy: Annotated[Asked, Field(description="how replicas work together; auto: what is fastest")] = AUTO
    workers: Workers = 0

    @model_validator(mode="after")
    def _groups_are_the_strategys(self) -> Self:
        check_resources(self.strategy, self.resources)
        return self


class FunctionSpec(JobSpec):
    """What `train.function` is given: a function of a person's own, what it is called with, and how its job runs."""

    name: Annotated[str, Field(description="what the training is called")] = ""
    function: Annotated[str, Field(description="`module:name` of `code`")] = ""
    code: Code = ""
    params: Annotated[dict[str, Any], Field(description="its keyword arguments")] = Field(default_factory=dict)
    data: Annotated[dict[str, str], Field(description="name -> s3:// address or path: `context.data[name]`")] = Field(
        default_factory=dict
    )
    strategy: Annotated[Strategy, Field(description="how replicas work together")] = "single"
    workers: Annotated[int, Field(ge=1, le=512, description="replicas, the chief among them")] = 1
    seed: Annotated[int, Field(ge=0, lt=1 << 20)] = 17

    @model_validator(mode="after")
    def _honoured(self) -> Self:
        if self.strategy == "parameter_server":
            raise ValueError(
                "strategy 'parameter_server' shares out a recipe's own graph, and a function has none that could be; "
                "set strategy to multi_worker or horovod"
            )
        check_workers(self.strategy, self.workers)
        check_resources(self.strategy, self.resources)
        return self


def check_resources(strategy: str, resources: Resources) -> None:
    """Refuses groups of replicas that a strategy's job does not have; `auto` is chosen later.

    Raises:
        ValueError: says which it has.
    """
    if strategy == AUTO:
        return
    groups = groups_of(strategy)
    for group in get_args(Group):
        if getattr(resources, group) is not None and group not in groups:
            raise ValueError(
                f"resources.{group} with strategy {strategy!r}: its job has {' and '.join(groups)}; leave it out"
            )
    if resources.of("ps").gpu:
        raise ValueError("resources.ps.gpu: variables lie in a ps's memory, and a GPU would stand idle; leave it out")
    if strategy == "mirrored" and resources.of("chief").gpu == 1:
        raise ValueError("strategy 'mirrored' with one GPU is 'single'; raise resources.gpu or change the strategy")
