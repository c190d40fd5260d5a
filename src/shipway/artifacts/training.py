"""TrainingRecord: what came of a training whose code is a function."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shipway.artifacts.base import Artifact, Uri


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
