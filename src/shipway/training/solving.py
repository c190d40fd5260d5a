"""Weights that a recipe solves for before the training starts. Imports TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

from shipway.recipes import Encoder, load_recipe
from shipway.recipes.arrays import Encoded
from shipway.recipes.base import SolvesWeights
from shipway.recipes.own_fit import Rows
from shipway.training.spec import FitSpec


def solve_weights(
    spec: FitSpec, model: Any, encoder: Encoder, targets: Collection[str], columns: Callable[[str], Encoded]
) -> None:
    """Lets the recipe set what it solves for, where it does.

    Args:
        spec: Of the training.
        model: A fresh one; a checkpoint holds what was solved, so that a resumed training does not do it again.
        encoder: The dataset's.
        targets: Names of a record's targets.
        columns: A split's features and targets, as they are declared.
    """
    recipe = load_recipe(spec.recipe)
    if not isinstance(recipe, SolvesWeights):
        return

    def rows(split: str) -> Rows:
        arrays = columns(split)
        return {name: arrays[name] for name in arrays.keys() - targets}, {name: arrays[name] for name in targets}

    told = recipe.solve_weights(model, spec.recipe_params(), encoder, rows)
    if told:
        print(f"shipway: {told}", file=sys.stderr, flush=True)
