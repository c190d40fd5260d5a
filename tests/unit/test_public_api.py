"""The public names: adding one is a decision, losing one breaks users."""

from __future__ import annotations

import pytest

import shipway

PUBLIC = [
    "Connection", "Run", "ShipwayError", "UserError", "__version__", "compile_pipeline", "connect",
    "list_runs", "load_run", "report", "run", "sweep", "train", "use_store",
]  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert sorted(shipway.__all__) == PUBLIC
    assert dir(shipway) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(shipway, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = shipway.nope
