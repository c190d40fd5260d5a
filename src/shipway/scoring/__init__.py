"""A trained model, ready to be asked: the one way from a model's folder to probabilities.

Evaluation, the gate and the predictor all go through `ModelSession`, so that what is served is what was judged.
"""

from __future__ import annotations

from shipway.scoring.folder import confirm, fetch_model, needed_files, stored_manifest, verify_files
from shipway.scoring.session import ModelSession, Run

__all__ = ["ModelSession", "Run", "confirm", "fetch_model", "needed_files", "stored_manifest", "verify_files"]
