"""What is found out about a variant's speed at export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shipway.artifacts import Speed
from shipway.training import speed


class Counted:
    """What was opened and asked."""

    def __init__(self) -> None:
        self.opened = 0
        self.sizes: list[int] = []

    def open(self) -> Any:
        self.opened += 1
        return self.run

    def run(self, rows: dict[str, Any]) -> None:
        assert {len(value) for value in rows.values()} == {len(rows["a"])}
        self.sizes.append(len(rows["a"]))


@pytest.mark.parametrize(("rows", "batch"), [(256, 32), (40, 32), (5, 5), (1, 1)])
def test_single_rows_and_whole_batches_are_timed_on_one_opened_variant(rows: int, batch: int) -> None:
    counted = Counted()
    given = {"a": np.zeros((rows, 3)), "b": np.zeros(rows)}
    found = speed.measure_speed(counted.open, given, threads=1)
    assert counted.opened == 1
    assert set(counted.sizes) == {1, batch}
    assert len(counted.sizes) <= 2 * speed.CALLS + 1
    assert 0 <= found.p50_ms <= found.p99_ms
    assert found.rows_per_s > 0
    assert found.threads == 1
    assert Speed.model_validate_json(found.model_dump_json()) == found


def test_a_slow_variant_is_asked_no_more_than_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "BUDGET_S", 0.0)
    counted = Counted()
    found = speed.measure_speed(counted.open, {"a": np.zeros((64, 3))})
    assert counted.sizes == [1, 1, 32]
    assert found.threads == 0
