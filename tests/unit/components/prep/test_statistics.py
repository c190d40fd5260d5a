"""What is counted over rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.components.prep.statistics import BINS, SIZES, Statistics, _bins, log_histogram

sizes = st.lists(st.integers(0, 2**40), min_size=1, max_size=30)


def counted(values: list[int]) -> Statistics:
    return Statistics(sizes=np.bincount(_bins(np.array(values)), minlength=BINS))


@settings(deadline=None)
@given(sizes)
def test_quantiles_of_sizes_are_exact_up_to_a_bound_and_near_above_it(values: list[int]) -> None:
    quantiles = counted(values).size_quantiles()
    for name, true in {"min": min(values), "max": max(values)}.items():
        assert quantiles[name] == true if true <= SIZES else true / 1.045 <= quantiles[name] <= true


@settings(deadline=None)
@given(sizes)
def test_each_size_is_counted_once_below_its_power_of_two(values: list[int]) -> None:
    expected: dict[str, int] = {}
    for value in values:
        edge = str(1 << value.bit_length() - 1 if value else 0)
        expected[edge] = expected.get(edge, 0) + 1
    assert log_histogram(counted(values).sizes) == expected
