"""Model code: what turns rows into tensors and tensors into answers."""

from __future__ import annotations

from shipway.recipes.arrays import Columns, Encoded, Ragged, dense
from shipway.recipes.base import (
    BUILT_IN,
    Encoder,
    Recipe,
    check_recipe_allowed,
    load_recipe,
    load_stored_recipe,
)

__all__ = [
    "BUILT_IN",
    "Columns",
    "Encoded",
    "Encoder",
    "Ragged",
    "Recipe",
    "check_recipe_allowed",
    "dense",
    "load_recipe",
    "load_stored_recipe",
]
