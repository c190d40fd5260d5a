"""What the registry keeps: immutable versions, and moves of aliases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import Field

from shipway.artifacts import Artifact, DecisionRecord, EvaluationRecord, MetricInfo, ModelManifest, Uri

Alias = Literal["candidate", "champion"]
ALIASES: tuple[Alias, ...] = ("candidate", "champion")


class ModelVersion(Artifact):
    """One registered model; at models/<name>/versions/<version>.json, never changed once written."""

    KIND: ClassVar[str] = "ModelVersion"
    SEALED: ClassVar[bool] = True

    name: str
    version: int
    digest: str
    model: ModelManifest  # its `uri` is the registry's own copy: models/<name>/content/<digest>/<variants>
    source_uri: Uri  # where training published it
    evaluation: EvaluationRecord | None = None
    decision: DecisionRecord | None = None
    dataset_uri: Uri
    dataset_fingerprint: str
    dataset_rows: dict[str, int] = Field(default_factory=dict)  # split -> rows
    dataset_source: str = ""  # where the rows came from
    run: str = ""
    created_at: str = ""
    shipway_version: str = ""


class Move(Artifact):
    """One move of an alias; the pointer names the newest, each names the one before it."""

    KIND: ClassVar[str] = "AliasMove"
    SEALED: ClassVar[bool] = True

    name: str
    alias: str
    version: int
    seal_of_version: str  # of the version's document as it was when the alias was set
    how: Literal["set", "rollback", "deploy"] = "set"  # deploy: taken back where the endpoint does not come up
    previous: str | None = None  # key of the move before
    previous_version: int | None = None
    at: str = ""
    run: str = ""
    reason: str = ""


@dataclass(frozen=True)
class VersionSummary:
    """One line of `models list`."""

    name: str
    version: int
    aliases: list[str]
    digest: str
    created_at: str
    run: str
    metrics: dict[str, float] = field(default_factory=dict)
    shown: list[MetricInfo] = field(default_factory=list)  # of `metrics`; empty for those of training
    decision: str = ""
    size_bytes: int = 0
    error: str = ""  # why the version cannot be used


@dataclass(frozen=True)
class Rollback:
    """What a rollback did, and what is left to do: an endpoint goes on serving until it is redeployed."""

    name: str
    from_version: int
    version: int
    redeploy: list[str]  # endpoints of this model that serve another version

    @property
    def message(self) -> str:
        said = f"champion of {self.name}: version {self.from_version} -> {self.version}"
        if not self.redeploy:
            return f"{said}; no endpoint has to change"
        return f"{said}; redeploy version {self.version} to {', '.join(self.redeploy)}"
