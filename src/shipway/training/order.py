"""Which records make up a step's batch: a pure function of (seed, step, world size). Numpy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

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
IntArray = NDArray[np.int64]


def permutation(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch's records, from Philox(seed, epoch)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)


class Order:
    """Permutations by epoch; those in use are kept, for several threads at once."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self._of = lru_cache(maxsize=3)(lambda epoch: permutation(rows, seed, epoch))

    def __call__(self, epoch: int) -> IntArray:
        return self._of(epoch)

    def local_batch(self, batch: int, step: int, share: Share) -> IntArray:
        """Of a step's `global_batch` the part that is this worker's."""
        local = batch // share.size
        first = step * batch + share.rank * local
        return self.at(np.arange(first, first + local))

    def at(self, positions: IntArray) -> IntArray:
        """Records at positions of the endless sequence of permutations."""
        epochs = positions // self.rows
        picked = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs).tolist():
            mine = epochs == epoch
            picked[mine] = self(epoch)[positions[mine] - epoch * self.rows]
        return picked


def global_batch(rows: int, batch: int, seed: int, step: int) -> NDArray[np.int64]:
    """Record numbers of one step's global batch.

    Epochs follow each other without a gap: step s holds positions [s * batch, (s + 1) * batch) of the endless sequence
    of permutations, so no record is left out and a batch may span epochs.
    """
    return Order(rows, seed).at(np.arange(step * batch, (step + 1) * batch))


def local_batches(rows: int, batch: int, seed: int, step: int, share: Share) -> Iterator[IntArray]:
    """`Order.local_batch` of every step from `step` on; without end."""
    order = Order(rows, seed)
    return (order.local_batch(batch, number, share) for number in count(step))
