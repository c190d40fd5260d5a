"""Model code: what turns rows into tensors and tensors into answers."""

from __future__ import annotations

from shipway.recipes.base import Encoded, Encoder, Ragged, Recipe, dense, load_recipe

__all__ = ["Encoded", "Encoder", "Ragged", "Recipe", "dense", "load_recipe"]
