"""One job for each trial, as Katib does it: metrics are read from what its first replica prints."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shipway.components.sweep.ledger import Ledger, Metrics, Request, Status
from shipway.components.sweep.runners import Job, Jobs
from shipway.errors import NotFound
from shipway.executors import Manifest

# The replica that Katib's collector stands beside.
PRIMARY = {"chief-0", "master-0", "worker-0", "launcher-0"}


@dataclass
class _Running:
    request: Request
    job: Job
    began: float
    is_given_up: bool = False


@dataclass
class JobTrials:
    """Runs each trial as a job of its own.

    Args:
        manifest: Gives a trial's manifest from its request.
        formats: Regular expressions with a metric's name and value as their first two groups.
        objective: The metric whose appearances are counted as steps.
    """

    ledger: Ledger
    jobs: Jobs
    manifest: Callable[[Request], Manifest]
    formats: list[str]
    objective: str
    slots: int
    deadline_s: float | None = None
    _running: dict[int, _Running] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """How many more trials may be started now."""
        return self.slots - len(self._running)

    def start(self, request: Request) -> None:
        """Starts the trial's job, or adopts it."""
        self.ledger.request(request)
        job = self.jobs.start(self.manifest(request), self.deadline_s)
        self._running[request.number] = _Running(request, job, time.monotonic())

    def resume(self, request: Request) -> bool:
        """Follows the job of an earlier engine, whether it still runs or has ended."""
        if self.free == 0:
            return False
        self.start(request)
        return True

    def poll(self) -> list[tuple[Request, Status]]:
        """The state of every attempt under way; a final one has left its slot."""
        found = []
        for number, running in list(self._running.items()):
            outcome = running.job.outcome  # before the log, which is whole once the job has ended
            reports = read_metrics(self._lines(running.job), self.formats, self.objective)
            seconds = round(time.monotonic() - running.began, 3)
            metrics = {name: value for _, report in reports for name, value in report.items()}
            state, error = "Running", ""
            if outcome is not None:
                del self._running[number]
                self.jobs.running.pop(running.job.name, None)
                seconds = round(outcome.seconds, 3) or seconds
                if running.is_given_up:
                    state = "EarlyStopped"
                elif outcome.state == "Succeeded":
                    state = "Succeeded"
                else:
                    state, error = "Failed", running.job.error()
            found.append((running.request, Status(state, reports, metrics, seconds, error)))
        return found

    def decide(self, request: Request, step: int, stop: bool) -> None:
        """Ends the job of a trial that is given up."""
        running = self._running.get(request.number)
        if stop and running is not None and not running.is_given_up:
            running.is_given_up = True
            self.jobs.cancel(running.job)

    def close(self, wait_s: float = 20.0) -> None:
        """Ends what still runs; a job of its own never waits for more work."""
        self.jobs.close(0)

    def _lines(self, job: Job) -> list[str]:
        try:
            return [line.text for line in self.jobs.executor.logs(job.handle) if line.replica in PRIMARY]
        except NotFound:
            return []


def read_metrics(lines: Iterable[str], formats: Iterable[str], objective: str) -> list[tuple[int, Metrics]]:
    """What a trial printed, as reports: a new one begins where a metric appears again.

    Args:
        lines: Standard output.
        formats: Regular expressions, name and value in the first two groups.
        objective: Only reports that hold it count as steps.

    Returns:
        (step, metrics), steps counted from 1; metrics behind the last objective belong to its report.
    """
    patterns = [re.compile(text) for text in formats]
    reports: list[Metrics] = [{}]
    for line in lines:
        for pattern in patterns:
            for match in pattern.finditer(line):
                name, value = match.group(1), _float(match.group(2))
                if value is None:
                    continue
                if name in reports[-1]:
                    reports.append({})
                reports[-1][name] = value
    kept: list[Metrics] = []
    for report in reports:
        if objective in report:
            kept.append(report)
        elif kept:
            kept[-1] = {**kept[-1], **report}
    return [(step, report) for step, report in enumerate(kept, start=1)]


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # Katib's filter also matches an empty value
