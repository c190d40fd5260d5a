"""A pipeline's configuration: found, resolved and checked before anything starts. No particular pipeline is known here.

`find` gives a pipeline by name, the `Plan` of its folder says what there is to configure, and `resolve` makes one
`Configuration` of both, which everything else in the process is handed (docs/design.md, Plans).
"""

from __future__ import annotations

from shipway.planning.base import Plan
from shipway.planning.finder import Pipeline, find, find_all
from shipway.planning.resolving import Configuration, resolve
from shipway.planning.sources import code_fingerprint

__all__ = ["Configuration", "Pipeline", "Plan", "code_fingerprint", "find", "find_all", "resolve"]
