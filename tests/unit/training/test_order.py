"""The order of examples, without TensorFlow: what `shipway.training.order` promises."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.training.order import Share, global_batch, local_batches, permutation


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 60), local=st.integers(1, 9), workers=st.sampled_from([1, 2, 3, 4]), seed=st.integers(0, 99),
    start=st.integers(0, 40),
)  # fmt: skip
def test_workers_share_each_global_batch_whatever_their_number(
    rows: int, local: int, workers: int, seed: int, start: int
) -> None:
    batch = local * workers
    streams = [islice(local_batches(rows, batch, seed, start, Share(rank, workers)), 12) for rank in range(workers)]
    for offset, parts in enumerate(zip(*streams, strict=True)):
        together = np.concatenate(parts)
        assert together.tolist() == global_batch(rows, batch, seed, start + offset).tolist()


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 50), batch=st.integers(1, 70), seed=st.integers(0, 9))
def test_every_epoch_holds_every_record_once(rows: int, batch: int, seed: int) -> None:
    steps = 3 * rows  # so that the positions end at a multiple of rows
    seen = np.concatenate([global_batch(rows, batch, seed, step) for step in range(steps)])
    for epoch in range(len(seen) // rows):
        assert Counter(seen[epoch * rows : (epoch + 1) * rows].tolist()) == Counter(range(rows))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(permutation(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert permutation(8, 17, 0).tolist() == [7, 6, 4, 2, 1, 5, 0, 3]


def test_a_resumed_stream_is_the_rest_of_the_undisturbed_one() -> None:
    whole = list(islice(local_batches(37, 8, 3, 0, Share(1, 2)), 20))
    rest = list(islice(local_batches(37, 8, 3, 11, Share(1, 2)), 9))
    assert [part.tolist() for part in whole[11:]] == [part.tolist() for part in rest]


def test_a_share_beyond_the_workers_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        Share(2, 2)
