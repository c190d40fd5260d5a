"""The frame around every launch: record, clear error, cancel, and an end with whoever started it.

KFP turns every exit code into 1 and keeps no message, so what a person should read is a StepRecord in object storage.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from shipway.artifacts import StepError, StepRecord
from shipway.context import Context
from shipway.errors import Cancelled, JobFailed, ShipwayError, UserError, exit_code_of

HOST_POLL_S = 0.2
END_GRACE_S = 10.0
WATCH = "SHIPWAY_WATCH"  # path of the local host's lock; a pod's end is the kubelet's business
TASK = "SHIPWAY_TASK"  # the task's name in its pipeline, where the local host knows it
TITLE = "SHIPWAY_TASK_TITLE"  # and its display name


class Step:
    """What a launch may say about itself while it runs."""

    def __init__(self, task: str) -> None:
        self.context = Context.current()
        self.task = task = os.environ.get(TASK, task)
        self.record = StepRecord(
            run=self.context.run,
            task=task,
            title=os.environ.get(TITLE, ""),
            state="Running",
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            execution=self.context.execution,
            inputs=dict(self.context.inputs),
        )
        self._cancel: list[Callable[[], None]] = []
        self._began = time.monotonic()

    def output(self, **facts: object) -> None:
        """Adds small facts worth showing: URIs, counts, metrics."""
        self.record.outputs.update(facts)

    def report(self, title: str, uri: str) -> None:
        """Adds an HTML report by URI."""
        self.record.reports[title] = uri

    def job(self, name: str, on_cancel: Callable[[], None] | None = None) -> None:
        """Names a job that this step started, and what ends it.

        `on_cancel` runs first and must not print: KFP's launcher is gone when SIGTERM arrives, and a write to its
        closed pipe would end the handler before the job is deleted.
        """
        if name not in self.record.jobs:
            self.record.jobs.append(name)
        if on_cancel is not None:
            self._cancel.append(on_cancel)
        self.save()

    def cancel(self) -> None:
        """Ends what this step started."""
        while self._cancel:
            try:
                self._cancel.pop()()
            except Exception:  # noqa: BLE001 - one job that cannot be deleted must not keep the others alive
                continue

    @property
    def key(self) -> str:
        """Where its record lies in the store."""
        return f"runs/{self.record.run}/steps/{self.task}.json"

    def refused_before(self) -> StepError | None:
        """The user's mistake that ended an earlier attempt of this very step: trying again does not mend it.

        Argo sees only that a container failed, and tries as often as the task's retries allow. A retry that a person
        asks for counts its attempts from 0 and does the work.
        """
        if not self.context.attempt:
            return None
        from shipway.storage import Store

        try:
            before = StepRecord.from_json(Store.open(self.context.store_uri).get(self.key), self.key)
        except ShipwayError:
            return None
        is_ours = before.state == "Failed" and before.execution == self.record.execution
        return before.error if is_ours and before.error and exit_code_of(before.error.kind) == 2 else None

    def save(self) -> None:
        """Writes the record; a store that does not answer must not hide the step's own error."""
        from shipway.storage import Store

        self.record.seconds = round(time.monotonic() - self._began, 3)
        try:
            Store.open(self.context.store_uri).put(self.key, self.record.to_json().encode())
        except ShipwayError as error:
            print(f"shipway: record of step {self.task} not written: {error}", file=sys.stderr)


@contextmanager
def step(task: str) -> Iterator[Step]:
    """Runs a launch as one step of a run.

    A `ShipwayError` ends the process with its exit code after one line on standard error; anything else is a defect
    of ours and keeps its traceback. SIGTERM and SIGINT, or the death of the local runner, cancel the step's jobs.
    """
    current = Step(task)
    refused = current.refused_before()
    if refused is not None:
        print(f"error: {refused.message}", file=sys.stderr, flush=True)
        raise SystemExit(exit_code_of(refused.kind))
    _install_handlers(current)
    current.save()
    try:
        yield current
    except ShipwayError as error:
        _end(current, error)
        raise SystemExit(error.exit_code) from None
    except BaseException as error:
        _end(current, error)
        raise
    current.record.state = "Succeeded"
    current.save()


def write_metrics(artifact: Any, metrics: Mapping[str, float]) -> None:
    """Logs metrics to a KFP Metrics (or ClassificationMetrics) artifact, and leaves them as a file too.

    KFP keeps them as metadata only, and kfp.local takes an output without a file for a cache miss at every run.
    """
    for name, value in metrics.items():
        artifact.log_metric(name, value)
    leave_file(artifact.path, json.dumps(dict(metrics)))


def leave_file(path: str, text: str) -> None:
    """Writes the file behind an artifact."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def _end(current: Step, error: BaseException) -> None:
    current.cancel()
    current.record.state = "Cancelled" if isinstance(error, Cancelled | KeyboardInterrupt) else "Failed"
    message = str(error) if isinstance(error, ShipwayError) else f"{type(error).__name__}: {error}"
    current.record.error = StepError(kind=type(error).__name__, message=message)
    if isinstance(error, JobFailed):
        current.record.error.replica = error.replica
        current.record.error.exit_code = error.replica_exit_code
        current.record.error.last_lines = list(error.last_lines)
    current.save()
    if isinstance(error, ShipwayError):
        print(f"error: {message}", file=sys.stderr, flush=True)
        if not isinstance(error, UserError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)


def _install_handlers(current: Step) -> None:
    if threading.current_thread() is not threading.main_thread():
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        current.cancel()
        raise Cancelled(f"step {current.task} was stopped by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    if os.environ.get(WATCH):
        threading.Thread(target=_watch_host, args=(os.environ[WATCH],), daemon=True).start()


def _watch_host(lock: str) -> None:
    """Stops this process when the run's host goes: kfp.local leaves a step alive when the run is killed.

    The host holds an exclusive lock as long as it lives, and the kernel lets go of it however the host dies.
    """
    with open(lock) as file:
        while True:
            time.sleep(HOST_POLL_S)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            break
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_GRACE_S)
    os._exit(130)
