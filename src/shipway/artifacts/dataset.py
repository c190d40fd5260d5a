"""DatasetManifest: encoded shards, the rows they came from, the encoder fitted on them."""

from __future__ import annotations

from math import prod
from typing import ClassVar

from pydantic import Field

from shipway.artifacts.base import Artifact, FileRef, Record, Sha256, Shard, Uri

SPLITS = ("train", "eval", "test")
_ITEM_BYTES = {"int64": 8, "float32": 4, "uint8": 1}


class FeatureSpec(Record):
    """One tensor of a record or of a model, without the dimension of examples.

    A None in `shape` is a length that varies. Of a record's tensor that is at most the first dimension (padded in a
    batch); of a served one any, where it follows from the batch.
    """

    dtype: str  # "int64" | "float32" | "uint8" (not of a record's) | "bytes"; of a served tensor any of NumPy's, too
    shape: list[int | None]

    @property
    def row_bytes(self) -> int | None:
        """Bytes of one row in memory; None where rows differ."""
        size = _ITEM_BYTES.get(self.dtype)
        sides = [side for side in self.shape if side is not None]
        return None if size is None or len(sides) < len(self.shape) else size * prod(sides)


class SplitManifest(Record):
    """One split: its rows as Parquet, and TFRecord shards (globally shuffled) of those whose classes train knows."""

    rows: int
    groups: int  # distinct groups; equals rows where there is no group column
    class_counts: dict[str, int] = Field(default_factory=dict)  # class -> rows that name it; none of a number
    shards: list[Shard] = Field(default_factory=list)  # tf.train.Example records, plain TFRecord
    row_files: list[Shard] = Field(
        default_factory=list
    )  # Parquet: row_id, the input's columns, label, group, split, others
    group_hashes: FileRef | None = None  # Parquet, one uint64 column `group_hash`, sorted and distinct
    left_out: dict[str, int] = Field(default_factory=dict)  # class without training rows -> rows set aside

    @property
    def encoded_rows(self) -> int:
        """Records in its shards: all rows but those of classes that train never saw."""
        return sum(shard.rows for shard in self.shards)


class DatasetManifest(Artifact):
    """What `prep.dataset` publishes; all paths are below `uri`."""

    KIND: ClassVar[str] = "DatasetManifest"
    SEALED: ClassVar[bool] = True

    name: str  # the model's name
    uri: Uri
    fingerprint: str  # over content: equal data, equal fingerprint
    recipe: str
    recipe_params: dict[str, object] = Field(default_factory=dict)  # the recipe's validated EncoderParams
    source_uri: str = ""
    task: str = "classification"  # the recipe's: what a label means
    input: str = "text"  # the recipe's: what a row gives
    input_params: dict[str, object] = Field(default_factory=dict)  # the input's validated Params
    label_params: dict[str, object] = Field(default_factory=dict)  # those of the task's labels
    label_column: str = "label"
    group_column: str | None = None
    labels: list[str]  # class names, the position is the class id; empty where the task has none
    features: dict[str, FeatureSpec]  # encoded inputs
    packed: dict[str, FeatureSpec] = Field(default_factory=dict)  # what a record holds in their place, if not them
    unpacked_bytes: int = 0  # of a row's features in memory, where records are packed; measured on some rows of train
    targets: dict[str, FeatureSpec] = Field(default_factory=dict)  # what a record holds to learn from beside them
    splits: dict[str, SplitManifest]  # train, eval, test
    encoder: FileRef  # encoder.json
    encoder_sha256: Sha256
    quarantined_rows: int = 0
    quarantine: list[Shard] = Field(default_factory=list)
    leakage: dict[str, float] = Field(default_factory=dict)
    statistics: dict[str, object] = Field(default_factory=dict)
    created_at: str = ""
    shipway_version: str = ""
