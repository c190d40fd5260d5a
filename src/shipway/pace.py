"""How long work takes that is still to be done, by what was measured of the work before it. Imports nothing heavy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import combinations

from shipway.pages.numbers import duration, number

POINTS = 24  # kept: the slope between any two of them is looked at
APART_S = 1.0  # at least, and a fortieth of the time so far: the points span the newer half of long work
ENOUGH = 4  # points: three intervals, of which the first may have been a slow one


class Pace:
    """The rate at which something is done, and what it says of the rest.

    The rate is the median over the slopes between any two of the newest points (Theil 1950, Sen 1968): a first step
    that is traced, or a pause for an evaluation, moves it by little, while pauses that return count as they should.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._points: list[tuple[float, float]] = []  # (seconds, done)

    def add(self, done: float) -> None:
        """Notes how much is done; the first time, what was done before anything was measured."""
        now = self._clock()
        if self._points and done < self._points[-1][1]:
            self._points, self._began = [], now  # gone back to a checkpoint: steps before it are done once more
        apart = max(APART_S, (now - self._began) / 40)
        if not self._points or (now - self._points[-1][0] >= apart and done > self._points[-1][1]):
            self._points = [*self._points, (now, done)][-POINTS:]

    def left_s(self, done: float, total: float) -> float | None:
        """Seconds until `total`; None until that can be told."""
        if len(self._points) < ENOUGH:
            return None
        slopes = [(then - at) / (more - less) for (at, less), (then, more) in combinations(self._points, 2)]
        return max(total - done, 0.0) * statistics.median(slopes)


def words(done: float, total: float | None, unit: str, left_s: float | None = None, note: str = "") -> str:
    """`42 %, 12 s left, 88 of 209 steps, 735 examples/s`.

    Args:
        done: So much.
        total: Of so much; None where nobody knows.
        unit: In the plural.
        left_s: Seconds; None says nothing of them.
        note: Behind it.
    """
    parts = []
    if total:
        parts.append(f"{min(100 * done / total, 100):.0f} %")
        if left_s is not None:
            parts.append(f"{duration(left_s)} left")
    of = f"{number(int(done))} of {number(int(total))}" if total else number(int(done))
    parts += [f"{of} {unit}".rstrip(), note]
    return ", ".join(part for part in parts if part)
