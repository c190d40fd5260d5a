"""How exact a variant must be is the recipe's to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.errors import InvalidSpec
from shipway.recipes import load_recipe
from shipway.recipes.base import TOLERANCE, tolerance_of
from shipway.tasks import load_task
from shipway.training.publishing import parity_of


@pytest.mark.parametrize(("recipe", "tolerance"), [("images", 1e-4), ("image_tags", 1e-4), ("entities", TOLERANCE)])
def test_a_recipe_may_state_how_exact_its_variants_must_be(recipe: str, tolerance: float) -> None:
    assert tolerance_of(load_recipe(recipe)) == tolerance


@pytest.mark.parametrize(
    ("name", "stated"),
    [("text", "'1e-4'"), ("less", "-1e-4"), ("nan", "float('nan')"), ("boolean", "True"), ("much", "1.0")],
)
def test_a_tolerance_that_is_none_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stated: str
) -> None:
    name = f"recipe_exact_{name}"
    text = f"from shipway.recipes.intents import recipe as made\nclass R(type(made)):\n    tolerance = {stated}\n"
    (tmp_path / f"{name}.py").write_text(f"{text}recipe = R()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidSpec, match=r"^recipe intents: tolerance: expected a number from 0 to below 1, .*got"):
        load_recipe(f"{name}:recipe")


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
