"""Jobs that a sweep starts and watches, each by a thread of its own: whichever executor plays them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from shipway.errors import ShipwayError, one_line
from shipway.executors import Executor, Handle, Manifest, Outcome, raise_for


@dataclass
class Job:
    """A job under way.

    Attributes:
        outcome: How it ended; None while it runs.
    """

    name: str
    handle: Handle
    thread: threading.Thread
    outcome: Outcome | None = None

    def error(self) -> str:
        """One line on how it failed."""
        try:
            raise_for(self.outcome or Outcome("Failed", message="never started"), self.handle)
        except ShipwayError as error:
            return one_line(error)
        return f"{self.name}: its process ended with 0 before the trial was done"


@dataclass
class Jobs:
    """Starts, watches and ends jobs.

    Attributes:
        on_start: Told every handle, so that whoever owns the step can cancel what it started.
    """

    executor: Executor
    on_start: Callable[[Handle], None] = lambda handle: None
    running: dict[str, Job] = field(default_factory=dict)

    def start(self, manifest: Manifest) -> Job:
        """Creates or adopts the job, and follows it."""
        handle = self.executor.ensure(manifest)
        self.on_start(handle)
        job = Job(name=manifest["metadata"]["name"], handle=handle, thread=threading.Thread(target=lambda: None))

        def follow() -> None:
            try:
                job.outcome = self.executor.follow(handle)
            except ShipwayError as error:
                job.outcome = Outcome("Failed", message=str(error))
            except Exception as error:  # noqa: BLE001 - a watcher that dies silently would leave the sweep waiting
                job.outcome = Outcome("Failed", message=f"{type(error).__name__}: {error}")

        job.thread = threading.Thread(target=follow, daemon=True, name=f"follow-{job.name}")
        self.running[job.name] = job
        job.thread.start()
        return job

    def cancel(self, job: Job) -> None:
        """Ends a job."""
        self.executor.cancel(job.handle)

    def close(self, wait_s: float = 0.0) -> None:
        """Waits for the jobs to end by themselves, and cancels those that don't."""
        for job in self.running.values():
            job.thread.join(timeout=wait_s)
            if job.outcome is None:
                self.cancel(job)
        for job in self.running.values():
            job.thread.join(timeout=30)
        self.running.clear()
