"""Typed, versioned JSON documents that pipelines pass on; the bulk they name stays in object storage."""

from __future__ import annotations

from shipway.artifacts.base import Artifact, FileRef, Record, RelativePath, Sha256, Shard, Uri
from shipway.artifacts.dataset import SPLITS, DatasetManifest, FeatureSpec, SplitManifest
from shipway.artifacts.evaluation import (
    BaselineMetrics,
    DecisionRecord,
    EvaluationRecord,
    Interval,
    MetricInfo,
    RuleResult,
    SliceMetrics,
)
from shipway.artifacts.model import ModelManifest, Parity, Speed, Variant
from shipway.artifacts.records import RunRecord, StepError, StepProgress, StepRecord
from shipway.artifacts.sweep import SweepAccount, SweepRecord, TrialRecord
from shipway.artifacts.training import GpuUsage, ReplicaUsage, Spread, TrainingRecord

__all__ = [
    "SPLITS",
    "Artifact",
    "BaselineMetrics",
    "DatasetManifest",
    "DecisionRecord",
    "EvaluationRecord",
    "FeatureSpec",
    "FileRef",
    "GpuUsage",
    "Interval",
    "MetricInfo",
    "ModelManifest",
    "Parity",
    "Record",
    "RelativePath",
    "ReplicaUsage",
    "RuleResult",
    "RunRecord",
    "Sha256",
    "Shard",
    "SliceMetrics",
    "Speed",
    "SplitManifest",
    "Spread",
    "StepError",
    "StepProgress",
    "StepRecord",
    "SweepAccount",
    "SweepRecord",
    "TrainingRecord",
    "TrialRecord",
    "Uri",
    "Variant",
]
