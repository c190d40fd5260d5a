"""TrainingRecord: what came of a training whose code is a function; ReplicaUsage: what a replica used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field

from shipway.artifacts.base import Artifact, Record, Uri


class Spread(Record):
    """Mean and peak over a training."""

    mean: float
    peak: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of samples; at least one."""
        return cls(mean=sum(values) / len(values), peak=max(values))


class GpuUsage(Record):
    """One GPU that a replica may use; all that runs on it counts."""

    index: int
    use: Spread  # share of the time in which it computed
    memory_bytes: Spread
    memory_limit_bytes: int


class ReplicaUsage(Record):
    """What a replica used while it trained, since it was last started; at usage/<replica>.json of its job."""

    replica: str
    seconds: float
    cpu_cores: Spread
    cpu_limit: float
    memory_bytes: Spread  # resident, of the process and its children
    memory_limit_bytes: int
    gpus: list[GpuUsage] = Field(default_factory=list)
    waited_for_input: float | None = None  # share of its steps' time; None: not measured
    input: str = ""  # `memory` or `stream`, where Shipway made the batches


class TrainingRecord(Artifact):
    """What `train.function` made; the folder of the function lies below `uri`."""

    KIND: ClassVar[str] = "TrainingRecord"
    SEALED: ClassVar[bool] = True

    name: str
    function: str
    code: str = ""
    params: dict[str, object] = Field(default_factory=dict)
    strategy: str = "single"
    workers: int = 1
    metrics: dict[str, float] = Field(default_factory=dict)
    history: dict[str, list[list[float]]] = Field(default_factory=dict)  # of each reported metric: [step, value]
    seconds: float = 0.0
    restarts: int = 0
    uri: Uri
