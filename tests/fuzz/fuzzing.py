"""How long a fuzz test looks: a few examples in the usual run, `SHIPWAY_FUZZ_S` seconds where that is set."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings

SECONDS = float(os.environ.get("SHIPWAY_FUZZ_S", "0"))
FEW, MANY = 25, 1_000_000


def fuzzed(test: Callable[..., None]) -> Callable[..., None]:
    """Settings for a test under `@given`; with seconds given, examples behind the deadline pass at once."""
    inner = getattr(test, "hypothesis").inner_test  # noqa: B009 - mypy knows no such attribute
    began: list[float] = []

    def timed(*arguments: object, **named: object) -> None:
        began[:] = began or [time.monotonic()]
        if not SECONDS or time.monotonic() - began[0] < SECONDS:
            inner(*arguments, **named)

    getattr(test, "hypothesis").inner_test = timed  # noqa: B009
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    # An example that passes only because time is up is cheap: a thousand more for each second are enough.
    count = min(MANY, int(SECONDS * 1_000)) if SECONDS else FEW
    return settings(deadline=None, max_examples=count, suppress_health_check=checks)(test)
