"""Which records make up a step's batch: a pure function of (seed, step, world size). Numpy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Share:
    """Which part of the data a worker trains on: the `rank`-th of `size`."""

    rank: int
    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} of {self.size} workers; expected 0 <= rank < size")


ALONE = Share(0, 1)


def permutation(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch's records, from Philox(seed, epoch)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)


def global_batch(rows: int, batch: int, seed: int, step: int) -> NDArray[np.int64]:
    """Record numbers of one step's global batch.

    Epochs follow each other without a gap: step s holds positions [s * batch, (s + 1) * batch) of the endless sequence
    of permutations, so no record is left out and a batch may span epochs.
    """
    return _picked(rows, seed, np.arange(step * batch, (step + 1) * batch), {})


def local_batches(rows: int, batch: int, seed: int, step: int, share: Share) -> Iterator[NDArray[np.int64]]:
    """Of each `global_batch` from `step` on the part that is this worker's; without end."""
    local = batch // share.size
    orders: dict[int, NDArray[np.int64]] = {}
    while True:
        first = step * batch + share.rank * local
        yield _picked(rows, seed, np.arange(first, first + local), orders)
        step += 1


def _picked(
    rows: int, seed: int, positions: NDArray[np.int64], orders: dict[int, NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Records at positions of the endless sequence; `orders` keeps the permutations that are still in use."""
    epochs = positions // rows
    needed = np.unique(epochs)
    for gone in [epoch for epoch in orders if epoch < needed[0]]:
        del orders[gone]
    picked = np.empty(len(positions), np.int64)
    for epoch in needed.tolist():
        if epoch not in orders:
            orders[epoch] = permutation(rows, seed, epoch)
        mine = epochs == epoch
        picked[mine] = orders[epoch][positions[mine] - epoch * rows]
    return picked
