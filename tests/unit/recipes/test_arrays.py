"""Arrays of many rows, padded where their lengths differ."""

from __future__ import annotations

import numpy as np

from shipway.recipes.arrays import stack_padded


def test_batches_of_different_widths_become_one_array() -> None:
    narrow, wide = np.ones((2, 1, 2)), np.ones((1, 3, 1))
    stacked = stack_padded([narrow, wide], -1)
    assert stacked.shape == (3, 3, 2)
    assert np.array_equal(stacked[:2, :1], narrow)
    assert np.array_equal(stacked[2:, :, :1], wide)
    assert stacked.sum() == narrow.sum() + wide.sum() - (stacked.size - narrow.size - wide.size)


def test_numbers_a_row_are_put_one_behind_the_other() -> None:
    assert stack_padded([np.array([1, 2]), np.array([], int), np.array([3])]).tolist() == [1, 2, 3]
