"""How exact a variant must be is the recipe's to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shipway.recipes import load_recipe
from shipway.recipes.base import TOLERANCE, tolerance_of
from shipway.tasks import load_task
from shipway.training.publishing import parity_of


@pytest.mark.parametrize(("recipe", "tolerance"), [("images", 1e-4), ("image_tags", 1e-4), ("entities", TOLERANCE)])
def test_a_recipe_may_state_how_exact_its_variants_must_be(recipe: str, tolerance: float) -> None:
    assert tolerance_of(load_recipe(recipe)) == tolerance


@pytest.mark.parametrize(("away", "passes"), [(0.0, True), (5e-5, True), (2e-4, False)])
def test_numbers_farther_away_than_that_fail(away: float, passes: bool) -> None:
    class TwoTags:
        labels = ("a", "b")

    encoder: Any = TwoTags()
    scores = np.array([[0.25, 0.75]], np.float32)
    found = parity_of(
        load_task("tagging").answers,
        encoder,
        {"x": scores},
        {"scores": scores},
        {"scores": scores + np.float32(away)},
        1e-4,
    )
    assert (found.passed, found.tolerance) == (passes, 1e-4)
    assert found.max_abs_diff == pytest.approx(away, abs=1e-7)
