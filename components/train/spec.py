"""TrainingSpec: how a model is trained, and on what."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from shipway.code.reference import Code
from shipway.podsecurity import DESCRIPTION, PodSecurity
from shipway.specs import Spec
from shipway.training.spec import AUTO, Asked, FitSpec, Strategy, Workers, check_workers

Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([kMGTP]i?|m)?$")]


class Resources(Spec):
    """What each replica asks for, as Kubernetes writes it; requests and limits are equal."""

    cpu: Annotated[Quantity, Field(description="cores")] = "1"
    memory: Quantity = "4Gi"
    gpu: Annotated[int, Field(ge=0, le=16, description="nvidia.com/gpu")] = 0


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
    def _one_replica_has_all_gpus(self) -> Self:
        _check_mirrored(self.strategy, self.resources.gpu)
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
        check_workers(self.strategy, self.workers)
        _check_mirrored(self.strategy, self.resources.gpu)
        return self


def _check_mirrored(strategy: str, gpus: int) -> None:
    if strategy == "mirrored" and gpus == 1:
        raise ValueError("strategy 'mirrored' with one GPU is 'single'; raise resources.gpu or change the strategy")
