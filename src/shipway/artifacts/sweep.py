"""SweepRecord: every trial of a sweep."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shipway.artifacts.base import Artifact, Record


class TrialRecord(Record):
    number: int
    state: Literal["Succeeded", "Failed", "EarlyStopped", "Running", "Paused", "Killed"]
    params: dict[str, object]
    metrics: dict[str, float] = Field(default_factory=dict)
    history: list[list[float]] = Field(default_factory=list)  # [step, objective]
    rungs: list[float] = Field(default_factory=list)  # best objective up to each rung reached; larger is better
    attempts: int = 1  # how often it was begun, or went on
    seconds: float = 0.0
    seed: int = 0
    job: str = ""
    error: str = ""


class SweepRecord(Artifact):
    """What `sweep.search` found."""

    KIND: ClassVar[str] = "SweepRecord"
    SEALED: ClassVar[bool] = True

    name: str
    objective: str
    direction: Literal["maximize", "minimize"]
    algorithm: str
    best_trial: int | None = None
    best_value: float | None = None
    best_params: dict[str, object] = Field(default_factory=dict)
    defaults: dict[str, object] = Field(default_factory=dict)  # without a sweep; empty: nobody knows them
    trials: list[TrialRecord] = Field(default_factory=list)
    importance: dict[str, float] = Field(default_factory=dict)
    dataset_fingerprint: str = ""
    created_at: str = ""
