"""How many predictions may be under way. Connections refuse by it before there is a task, the gate after."""

from __future__ import annotations

import asyncio

SHORT = 6  # predictions at once for `SHORT_S` after each refusal
SHORT_S = 1.0  # what a refused client is asked to wait


class Room:
    """Counts predictions. A burst may fill the room; while there is more than it holds, the queue is kept short.

    Otherwise whoever is accepted waits behind a full room for as long as the overload lasts (docs/decisions/0130).

    Args:
        limit: Predictions at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0  # bodies that are whole, until their answer
        self.is_draining = False
        self.reason = f"too many requests are waiting already (at most {limit}); try again later"
        self._begun = 0
        self._short_until = 0.0

    def refuses(self, now: float) -> bool:
        """Whether a prediction whose head has come has no place, at a time of the event loop."""
        limit = self.limit if now >= self._short_until else min(self.limit, SHORT)
        if self.taken + self._begun < limit:
            return False
        self._short_until = now + SHORT_S
        return True

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Counts a request until the loop's next turn: its task has run by then, and counts it if its body is whole."""
        if not self._begun:
            loop.call_soon(self._turn)
        self._begun += 1

    def _turn(self) -> None:
        self._begun = 0
