"""Labels that fall into two clouds."""

from __future__ import annotations

import numpy as np
import pytest

from shipway.components.prep.clouds import find_clouds, halves, typical
from shipway.language.nearest import Floats, unit

WIDTH = 64
draw = np.random.default_rng(0)


def cloud(rows: int, centre: Floats | None = None, spread: float = 0.08) -> Floats:
    middle = draw.normal(size=WIDTH) / 8 if centre is None else centre
    return unit((middle + draw.normal(size=(rows, WIDTH)) * spread).astype(np.float32))


def test_two_labels_put_together_are_told_from_labels_that_are_one() -> None:
    """Labels are of two subjects, so that nearly half of their pairs are near; what was put together is of both."""
    subjects = draw.normal(size=(2, WIDTH)) / 8
    near = [(subjects[number % 2] + draw.normal(size=WIDTH) / 20).astype(np.float32) for number in range(12)]
    labels = {f"label {number}": cloud(40, centre) for number, centre in enumerate(near)}
    mixed = draw.permutation(60)
    labels["two"] = np.concatenate([cloud(30, near[0]), cloud(30, near[1])])[mixed]
    found = find_clouds(labels)
    assert found["two"].apart > 0.3
    assert found["two"].members.sum() == 30
    assert len(set(found["two"].members[mixed < 30])) == 1
    assert max(found[f"label {number}"].apart for number in range(12)) < 0.1


@pytest.mark.parametrize("rows", [1, 2, 15])
def test_a_label_of_few_rows_is_not_judged(rows: int) -> None:
    labels = {f"label {number}": cloud(40) for number in range(5)} | {"few": cloud(rows)}
    assert "few" not in find_clouds(labels)


def test_few_labels_are_no_measure() -> None:
    assert find_clouds({f"label {number}": cloud(40) for number in range(3)}) == {}
    assert find_clouds({}) == {}


def test_rows_that_are_all_alike_have_no_halves() -> None:
    assert halves(np.repeat(cloud(1), 50, axis=0)).all()
    assert halves(np.zeros((50, WIDTH), np.float32)).all()
    assert halves(cloud(1)).all()
    alike = {f"label {number}": np.repeat(cloud(1), 50, axis=0) for number in range(5)}
    assert find_clouds(alike) == {}


def test_typical_rows_are_of_the_middle() -> None:
    rows = np.concatenate([cloud(20, np.eye(1, WIDTH, dtype=np.float32)[0]), -cloud(4)])
    assert set(typical(rows).tolist()) <= set(range(20))
    assert typical(rows[:1]).tolist() == [0]
