"""Model code: what turns rows into tensors and tensors into answers."""

from __future__ import annotations

from shipway.recipes.arrays import Columns, Encoded, Ragged, dense
from shipway.recipes.base import (
    BUILT_IN,
    Encoder,
    KerasRecipe,
    Recipe,
    check_recipe_allowed,
    load_recipe,
    load_stored_recipe,
)
from shipway.recipes.own_fit import FitsItself, Fitting, Rows

__all__ = [
    "BUILT_IN",
    "Columns",
    "Encoded",
    "Encoder",
    "FitsItself",
    "Fitting",
    "KerasRecipe",
    "Ragged",
    "Recipe",
    "Rows",
    "check_recipe_allowed",
    "dense",
    "load_recipe",
    "load_stored_recipe",
]
