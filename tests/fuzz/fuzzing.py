"""How long a fuzz test looks: a few examples in the usual run, `SHIPWAY_FUZZ_S` seconds where that is set."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings

SECONDS = float(os.environ.get("SHIPWAY_FUZZ_S", "0"))
FEW, AT_ONCE = 25, 200


def fuzzed(test: Callable[..., None]) -> Callable[..., None]:
    """Settings for a test under `@given`; with seconds given it begins anew until they are over."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    once = settings(deadline=None, max_examples=AT_ONCE if SECONDS else FEW, suppress_health_check=checks)(test)

    @functools.wraps(once)
    def again(*arguments: object, **named: object) -> None:
        until = time.monotonic() + SECONDS
        once(*arguments, **named)
        while time.monotonic() < until:
            once(*arguments, **named)

    return again
