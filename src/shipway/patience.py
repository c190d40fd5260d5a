"""How what failed for a moment is tried again: how often, for how long, and with which pauses.

    tries = Patience(attempts=4).tries()
    while True:
        try:
            return send()
        except OSError:
            if not tries.again():
                raise

Which failure is worth another try is the caller's to know, and stands in its `except`. Nothing here holds up an end:
Ctrl-C, and the SIGTERM of a step that is cancelled, break a pause off.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Patience:
    """How much is borne before a failure is told.

    Attributes:
        attempts: Tries in all.
        within_s: Seconds from the first try after which none begins.
        first_s: The pause after the first failure. It doubles with each, and up to half of it is left out at random, so
            that many who failed together do not come back together.
        cap_s: The longest pause.
        asked_s: The longest pause that is made because the server asks for it.
    """

    attempts: float = math.inf
    within_s: float = math.inf
    first_s: float = 0.3
    cap_s: float = 8.0
    asked_s: float = 30.0

    def tries(self) -> Tries:
        """One beginning: the first try is made now."""
        return Tries(self)


class Tries:
    """The tries of one thing, whose first is under way."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0
        self._began = time.monotonic()

    def again(self, asked_s: float | None = None) -> bool:
        """Pauses before another try; False, at once, where there is to be none.

        Args:
            asked_s: The pause that the server asks for (`retry_after`).
        """
        pause = self.pause(asked_s, time.monotonic() - self._began)
        if pause is None:
            return False
        time.sleep(pause)
        return True

    def pause(self, asked_s: float | None, spent_s: float) -> float | None:
        """Seconds until the next try, after one more failure; None where there is to be none.

        Args:
            asked_s: As `again` has it.
            spent_s: Since the first try began.
        """
        patience, self._failures = self._patience, self._failures + 1
        own = min(patience.cap_s, patience.first_s * 2.0 ** min(self._failures - 1, 60)) * random.uniform(0.5, 1.0)
        left = patience.within_s - spent_s
        if self._failures >= patience.attempts or own > left:
            return None
        return max(own, min(asked_s or 0.0, patience.asked_s, left))


class Headers(Protocol):
    """An answer's, of whichever HTTP library."""

    def get(self, name: str, /) -> Any: ...


def retry_after(headers: Headers) -> float | None:
    """Seconds that an answer asks to wait before the next try; None where it does not (RFC 9110, 10.2.3)."""
    given = str(headers.get("Retry-After") or "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None
