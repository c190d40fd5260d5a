"""RowsManifest: what the four single steps of prep hand on, before there are shards."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shipway.artifacts import Artifact, Record, Shard, Uri

Stage = Literal["ingested", "validated", "split"]


class Origin(Record):
    """Which rows of the source a file holds: those behind `first_row` of `source`."""

    source: str
    first_row: int


class RowsManifest(Artifact):
    """Rows as Parquet, in the order of the source; all paths are below `uri`."""

    KIND: ClassVar[str] = "RowsManifest"
    SEALED: ClassVar[bool] = True

    name: str
    uri: Uri
    fingerprint: str
    stage: Stage
    spec: dict[str, object]  # the DatasetSpec
    files: list[Shard]  # the input's columns, label, group, split, _row, others
    origins: list[Origin]  # of each file
    rows: int
    records: int  # of the source, bad ones too
    bad: dict[str, int] = Field(default_factory=dict)  # reason -> rows set aside so far
    quarantine: list[Shard] = Field(default_factory=list)  # of this stage
    leakage: dict[str, float] = Field(default_factory=dict)
    reading: dict[str, object] = Field(default_factory=dict)  # of the source: see noted.py
    statistics: dict[str, object] = Field(default_factory=dict)
    created_at: str = ""
    shipway_version: str = ""
