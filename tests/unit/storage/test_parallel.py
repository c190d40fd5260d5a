"""Threads that share items: results in order, and one end for all of them."""

from __future__ import annotations

import time
from threading import Barrier

import pytest

from shipway.storage.parallel import spread


def test_results_are_in_the_order_of_the_items_and_as_many_threads_work_as_are_asked_for() -> None:
    meeting = Barrier(3, timeout=60)  # nobody gets through alone

    def work(item: int) -> int:
        meeting.wait()
        return item * item

    assert spread(work, range(6), 3) == [0, 1, 4, 9, 16, 25]
    assert spread(work, [], 3) == []


def test_the_first_error_ends_the_rest() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError("item 1")
        time.sleep(0.001)  # ten seconds for all of them, if nobody gave up

    with pytest.raises(ValueError, match="item 1"):
        spread(work, range(20_000), 2)
    assert len(begun) < 10_000
