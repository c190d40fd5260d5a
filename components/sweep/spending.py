"""What a sweep has spent, and whether an attempt more fits into its budget."""

from __future__ import annotations

from dataclasses import dataclass, field

from shipway.components.sweep.budget import Account
from shipway.components.sweep.ledger import Request, Status


@dataclass
class Spending:
    """Counts the seconds for which runners are held for trials.

    Args:
        account: What an hour of that costs, and what it may cost.
        limit_s: Seconds that one trial may take; None: as many as it likes.
        first_s: What the first ones may cost, while nothing is known of any.
    """

    account: Account
    limit_s: float | None = None
    first_s: float = 0.0
    held: dict[int, float] = field(default_factory=dict)  # trial -> seconds so far, all of its attempts
    _expected: dict[int, float] = field(default_factory=dict)  # those under way -> what they may have at their end
    _start_s: float = 0.0  # the most that an attempt took beside its own work: for its runner to start, above all
    _unit_s: float = 0.0  # the most that a unit of work took

    def may_cost_s(self, units: int, used_s: float = 0.0) -> float:
        """Seconds that an attempt may be held: as the dearest so far, its time limit at most.

        Args:
            units: Of its work: reports where trials pause at them, or 1 for a whole trial.
            used_s: Of its time limit, by earlier attempts.
        """
        work_s = units * self._unit_s or self.first_s
        return self._start_s + (work_s if self.limit_s is None else min(work_s, max(0.0, self.limit_s - used_s)))

    def fits(self, cost_s: float) -> bool:
        """Whether an attempt that may cost so much can begin beside those that are under way."""
        limit_s = self.account.stop_at_s(len(self._expected) + 1)
        return limit_s is None or self.spent_s + self._still_to_come_s + cost_s < limit_s

    @property
    def spent_s(self) -> float:
        """By all trials so far, those under way too."""
        return sum(self.held.values())

    @property
    def is_used_up(self) -> bool:
        """Whether what is under way must be ended now."""
        limit_s = self.account.stop_at_s(len(self._expected))
        return limit_s is not None and self.spent_s >= limit_s

    def patience_s(self, pause_s: float) -> float:
        """How long nobody need look: at most until the budget may be used up."""
        limit_s = self.account.stop_at_s(len(self._expected))
        if limit_s is None or not self._expected:
            return pause_s
        return max(0.01, min(pause_s, (limit_s - self.spent_s) / len(self._expected)))

    def begin(self, request: Request, units: int) -> None:
        """Notes that an attempt is under way."""
        self.held.setdefault(request.number, request.held_s)
        self._expected[request.number] = request.held_s + self.may_cost_s(units, request.used_s)

    def look(self, request: Request, status: Status) -> None:
        """Notes how long its runner was held by now."""
        self.held[request.number] = request.held_s + status.held_s

    def end(self, request: Request, status: Status, units: int) -> None:
        """Notes what an attempt came to.

        Args:
            request, status: The attempt.
            units: That it did.
        """
        self.look(request, status)
        self._expected.pop(request.number, None)
        if status.state != "Killed" and status.seconds:
            self._start_s = max(self._start_s, status.held_s - status.seconds)
            self._unit_s = max(self._unit_s, status.seconds / max(units, 1))

    @property
    def _still_to_come_s(self) -> float:
        return sum(max(0.0, expected - self.held[number]) for number, expected in self._expected.items())
