"""Versions of a model by name, and the aliases `candidate` and `champion` that point at them."""

from __future__ import annotations

from shipway.registry.aliases import Standing
from shipway.registry.changes import VersionDiff, diff_versions
from shipway.registry.collect import Garbage, GarbageReport
from shipway.registry.record import ALIASES, Alias, ModelVersion, Move, Rollback, VersionSummary
from shipway.registry.registry import Registry

__all__ = [
    "ALIASES",
    "Alias",
    "Garbage",
    "GarbageReport",
    "ModelVersion",
    "Move",
    "Registry",
    "Rollback",
    "Standing",
    "VersionDiff",
    "VersionSummary",
    "diff_versions",
]
