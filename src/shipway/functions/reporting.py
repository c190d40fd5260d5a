"""`shipway.report(accuracy=0.93, step=3)`: how a function tells what it has reached while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shipway.errors import InvalidSpec
from shipway.functions.declared import SCORE

MOST_POINTS = 1000  # kept of a metric
Tell = Callable[[int, dict[str, float]], bool]  # (step, metrics) -> go on?


class Stopped(Exception):
    """Raised in a trial that is told to end: others are ahead of it."""


class Reporter:
    """Hands on what a function reports.

    Attributes:
        last: Every metric's last value.
        history: Of every metric [step, value], thinned out where there are thousands.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._step = 0
        self.last: dict[str, float] = {}
        self.history: dict[str, list[list[float]]] = {}

    def report(self, step: int | None, metrics: Mapping[str, Any]) -> None:
        """A step's metrics.

        Raises:
            Stopped: the trial is given up.
        """
        self._step = self._step + 1 if step is None else int(step)
        told = numbers(metrics, "shipway.report")
        self.last |= told
        for name, value in finite(told).items():
            points = self.history.setdefault(name, [])
            points.append([self._step, value])
            if len(points) > MOST_POINTS:
                points[:] = [*points[:-1:2], points[-1]]
        if not self._tell(self._step, told):
            raise Stopped


_current: list[Reporter] = []


def report(*, step: int | None = None, **metrics: float) -> None:
    """Tells how far a function is: `shipway.report(accuracy=0.93, step=3)`.

    A sweep shows it, and may end a trial here that falls behind (`early_stopping`). Called by hand, outside of a sweep
    or a training, it prints.

    Args:
        step: Epoch or step, rising; left out, reports are counted.
        metrics: Numbers by name.

    Raises:
        InvalidSpec: a metric is no number.
    """
    if _current:
        _current[-1].report(step, metrics)
        return
    told = numbers(metrics, "shipway.report")
    print(" ".join(([] if step is None else [f"step {step}"]) + [f"{k}={v:.6g}" for k, v in told.items()]), flush=True)


@contextmanager
def reporting(reporter: Reporter) -> Iterator[Reporter]:
    """Reports go to this reporter while the body runs."""
    _current.append(reporter)
    try:
        yield reporter
    finally:
        _current.remove(reporter)


def numbers(metrics: Mapping[str, Any], where: str) -> dict[str, float]:
    """Metrics as floats; what is not finite stays so.

    Raises:
        InvalidSpec: one is no number; names it.
    """
    values: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            values[str(name)] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidSpec(f"{name} is {value!r:.80}, expected a number", field=where) from None
    return values


def metrics_of(result: Any, name: str, reported: Mapping[str, float], objective: str = "") -> dict[str, float]:
    """What a function gave: its result over what it reported last.

    Args:
        result: What it returned: a number, a mapping of names to numbers, or None.
        name: The function, for messages.
        reported: Each metric's last reported value.
        objective: What must be among them, and what a bare number is called; empty: nothing must.

    Raises:
        InvalidSpec: nothing was returned or reported, the objective is not among it, or it is no number.
    """
    called = objective or SCORE
    if isinstance(result, Mapping):
        metrics = {**reported, **numbers(result, f"what {name} returned")}
    elif result is None:
        metrics = dict(reported)
    else:
        try:
            metrics = {**reported, called: float(result)}
        except (TypeError, ValueError, OverflowError):
            raise InvalidSpec(
                field=f"what {name} returned",
                given=result,
                allowed=f"a number, a dict of metric names to numbers, or None after shipway.report({called}=...)",
            ) from None
    if objective and not metrics:
        raise InvalidSpec(
            "returned nothing and reported nothing",
            field=name,
            fix=f"return a number or a dict of metrics, or call shipway.report({objective}=...)",
        )
    if objective and objective not in metrics:
        raise InvalidSpec(
            "gave no metric",
            field=name,
            given=objective,
            allowed=sorted(metrics),
            fix="return or report it, or name another objective",
        )
    return metrics


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: JSON knows no others."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
