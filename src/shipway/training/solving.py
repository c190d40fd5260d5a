"""Weights that a recipe solves for before the training starts. Imports TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shipway.recipes import Encoder, Ragged, load_recipe
from shipway.recipes.base import Rows, SolvesWeights
from shipway.training.data import LABEL
from shipway.training.spec import FitSpec


def solve_weights(spec: FitSpec, model: Any, encoder: Encoder, loaded: Callable[[str], dict[str, Any]]) -> None:
    """Lets the recipe set what it solves for, where it does.

    Args:
        spec: Of the training.
        model: A fresh one; a checkpoint holds what was solved, so that a resumed training does not do it again.
        encoder: The dataset's.
        loaded: A split's parsed tensors, `label` among them.
    """
    recipe = load_recipe(spec.recipe)
    if not isinstance(recipe, SolvesWeights):
        return

    def rows(split: str) -> Rows:
        tensors = dict(loaded(split))
        labels = np.asarray(tensors.pop(LABEL)).reshape(-1)
        return {name: _as_numpy(value) for name, value in tensors.items()}, labels

    told = recipe.solve_weights(model, spec.recipe_params(), encoder, rows)
    if told:
        print(f"shipway: {told}", file=sys.stderr, flush=True)


def _as_numpy(value: Any) -> NDArray[Any] | Ragged:
    if isinstance(value, tf.RaggedTensor):
        return Ragged(value.flat_values.numpy(), value.row_splits.numpy())
    array: NDArray[Any] = value.numpy()
    return array
