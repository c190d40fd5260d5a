"""`Run`: one object for a run on this machine and on Kubeflow."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import Any

from shipway.ending import ENDED
from shipway.errors import InvalidSpec, JobFailed, ShipwayError
from shipway.runs.backend import Event, OnEvent
from shipway.runs.results import Results

CANCEL_S = 120.0


class Run(Results):
    """A run, here or on Kubeflow, as it was at the last look: `refresh`, `wait` and printing it look again.

    What it is and what is done with it stand here, what it gave stands in `Results`.
    """

    # What it is

    @property
    def name(self) -> str:
        """What lists call it."""
        return self.backend.name

    @property
    def state(self) -> str:
        """Pending, Running, Cancelling, Succeeded, Failed, Cancelled, Skipped or Paused."""
        return self.backend.state

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it goes on."""
        return self.state in ENDED

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.backend.is_here

    @property
    def is_ours(self) -> bool:
        """Whether it ends with this process, which started it."""
        return self.backend.is_ours

    @property
    def is_new(self) -> bool:
        """False where its idempotency key led to a run that was there."""
        return self.backend.is_new

    @property
    def titles(self) -> dict[str, str]:
        """The pipeline's tasks, path -> what screens call it."""
        return self.backend.titles

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that it was given; of a secret only that it was given."""
        return dict(self.record.params)

    @property
    def started_at(self) -> datetime | None:
        """When it was started, with its time zone; None where that is not known."""
        return datetime.fromisoformat(self.record.started_at) if self.record.started_at else None

    @property
    def seconds(self) -> float:
        """From its start to its end, or to when it was last looked at."""
        return self.record.seconds

    @property
    def started_by(self) -> str:
        """Who or what started it."""
        return self.record.started_by

    @property
    def url(self) -> str:
        """Its page in Kubeflow's UI; empty where there is none."""
        return self.backend.url

    # What one does with it

    def refresh(self) -> Run:
        """Looks at it again."""
        self.backend.refresh()
        return self

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """`tasks`, `state`, `step`, `progress` and `run` events until the run ends, each change once.

        Raises:
            JobFailed: it did not end within `timeout_s`, and goes on; or nobody is left to tell its end.
        """
        for changes in self._looks(timeout_s):
            yield from changes

    def _looks(self, timeout_s: float | None) -> Iterator[Iterator[Event]]:
        """What each look at it finds; it is taken in as it is read."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            yield self.backend.changes()
            if self.has_ended:
                return
            left = self.backend.poll_s if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise JobFailed(f"run {self.key} is still {self.state}; it goes on: shipway watch {self.key}")
            time.sleep(min(self.backend.poll_s, left))

    def wait(self, on_event: OnEvent | None = None, *, timeout_s: float | None = None) -> Run:
        """Waits for the end; failing is told by `state`, not by an exception.

        Args:
            on_event: Called with every event; without it the steps are shown in a notebook and on a terminal.
            timeout_s: Seconds until it waits no more.

        Raises:
            JobFailed: see `events`.
        """
        from shipway.runs.views import shown

        try:
            with shown(self) if on_event is None else nullcontext(on_event) as tell:
                for changes in self._looks(timeout_s):
                    for event in changes:
                        tell(event)
                    if on_event is None:
                        tell({"kind": "look"})  # seconds pass, though nothing was told
        except KeyboardInterrupt:
            if on_event is None:
                place = "" if self.backend.is_here else ", kfp=..."
                print(
                    f"Run {self.key} goes on: shipway.load_run({self.key!r}{place}).wait(), or .cancel() ends it.",
                    file=sys.stderr,
                )
            raise
        return self

    def cancel(self, timeout_s: float = CANCEL_S) -> str:
        """Asks for its end and waits until it is there: steps end their jobs first.

        Returns:
            How it really ended: Cancelled, or Succeeded or Failed where it was faster; Cancelling where it had not
            ended after `timeout_s` seconds; on this machine it is killed then, after 30 s at most.
        """
        return self.backend.cancel(timeout_s)

    def retry(self) -> Run:
        """Goes on with a failed or cancelled run; what succeeded stays.

        Raises:
            InvalidSpec: it has not failed.
        """
        self.refresh()
        if self.state not in ("Failed", "Cancelled"):
            raise InvalidSpec(
                f"run {self.key} is {self.state}; only a failed or cancelled run can be retried", field="retry"
            )
        self.backend = self.backend.again({}, is_retry=True)
        return self

    def clone(self, **changes: Any) -> Run:
        """Starts another run of the same version, with the same parameters but those given."""
        return Run(self.backend.again(changes, is_retry=False))

    def raise_for_state(self) -> Run:
        """Raises JobFailed with the first error unless the run succeeded or goes on."""
        if self.state in ("Failed", "Cancelled"):
            error, culprit = self.record.error, next((s for s in self.record.steps if s.error is not None), None)
            where = f"{culprit.name}: " if culprit and culprit.error == error else ""
            said = f"{where}{error.message}" if error else self.note or "no step left a record"
            raise JobFailed(f"run {self.key} {self.state}: {said}")
        return self

    # How it looks

    def __repr__(self) -> str:
        return f"Run({self.key!r}, {self.name!r}, {self.state})"

    def __str__(self) -> str:
        from shipway.runs.views import as_text

        return as_text(self._looked_at())

    def _repr_html_(self) -> str:
        from shipway.runs.views import as_html

        return as_html(self._looked_at())

    def _looked_at(self) -> Run:
        """As it is now, where that can be told: who prints a run that goes on wants to see how it is."""
        if not self.has_ended:
            with suppress(ShipwayError):
                self.refresh()
        return self
