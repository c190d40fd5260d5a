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
    held_s: float = 0.0  # that its runner was held for it: its start, where it waited for one, and `seconds`
    seed: int = 0
    job: str = ""
    error: str = ""


class SweepAccount(Record):
    """What the trials of a sweep cost."""

    gpus: float = 0.0  # of one trial
    cores: float = 0.0
    price_per_hour: float = 0.0  # 0: nobody named one
    spent: dict[str, float] = Field(default_factory=dict)  # gpu_hours, cpu_hours, money
    budget: dict[str, float] = Field(default_factory=dict)  # as it was given; empty: none
    ended_by: str = ""  # how the budget, or whoever stopped it, ended the sweep; empty: it went to its own end


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
    account: SweepAccount | None = None
    avoided: dict[str, list[int]] = Field(default_factory=dict)  # node -> trials whose runners died there
    dataset_fingerprint: str = ""
    created_at: str = ""
