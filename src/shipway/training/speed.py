"""How fast a variant is, found out in a second at export: what a person compares variants by. No benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np

from shipway.artifacts import Speed
from shipway.recipes.own_fit import Arrays

CALLS = 100  # of each kind, where there is time for so many
BUDGET_S = 0.4  # for the calls of each kind; one is made in any case


def measure_speed(open_variant: Callable[[], Callable[[Arrays], Any]], rows: Arrays, threads: int = 0) -> Speed:
    """Times of a variant on this machine.

    Args:
        open_variant: Loads it, and gives what runs a batch.
        rows: Encoded real rows, padded to the longest of them: name -> array with a row in each.
        threads: Of one inference, as `open_variant` sets them; 0: as many as the runtime chose.
    """
    began = time.perf_counter()
    run = open_variant()
    load_ms = (time.perf_counter() - began) * 1000
    run(next(_batches(rows, 1)))  # some runtimes prepare themselves at the first call
    one = _times(run, _batches(rows, 1))
    size = min(Speed.BATCH, len(next(iter(rows.values()))))
    many = _times(run, _batches(rows, size))
    return Speed(
        load_ms=round(load_ms, 3),
        p50_ms=round(float(np.quantile(one, 0.5)) * 1000, 4),
        p99_ms=round(float(np.quantile(one, 0.99)) * 1000, 4),
        rows_per_s=round(size / float(np.median(many)), 1),
        threads=threads,
    )


def _times(run: Callable[[Arrays], Any], batches: Iterator[Arrays]) -> list[float]:
    """Seconds of each call; of several, the first is left out: it is of a new shape."""
    ends, seconds = time.perf_counter() + BUDGET_S, list[float]()
    for batch in islice(batches, CALLS):
        began = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - began)
        if time.perf_counter() > ends:
            break
    return seconds[1:] or seconds


def _batches(rows: Arrays, size: int) -> Iterator[Arrays]:
    """Whole batches, again and again."""
    count = len(next(iter(rows.values())))
    for start in cycle(range(0, count - size + 1, size)):
        yield {name: value[start : start + size] for name, value in rows.items()}
