"""The frame around every launch: record, clear error, cancel, and an end with whoever started it.

KFP turns every exit code into 1 and keeps no message, so what a person should read is a StepRecord in object storage.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from shipway import deaths, parents, redaction
from shipway.artifacts import StepError, StepRecord
from shipway.context import TITLE, Context
from shipway.errors import Cancelled, JobFailed, ShipwayError, UserError, exit_code_of, harmless, one_line

WATCH = "SHIPWAY_WATCH"  # path of the local host's lock; a pod's end is the kubelet's business


class Step:
    """What a launch may say about itself while it runs.

    Args:
        role: What the launch does, `train`: by this a summary finds it, whatever its task is called.
        parts: Where the launch calls others, their roles and titles, in order. Each of them then is a part of this
            step: one task, one process, and a person still sees what was done.
    """

    def __init__(self, role: str, parts: Mapping[str, str] | None = None) -> None:
        self.context = context = Context.current()
        self.record = StepRecord(run=context.run, role=role, task=context.task or role, iteration=context.iteration,
                                 title=os.environ.get(TITLE, ""), state="Running", started_at=_now(),
                                 execution=context.execution, inputs=dict(context.inputs),
                                 made=dict(context.made))  # fmt: skip
        self.record.parts = [_skipped(self.record, role, title) for role, title in (parts or {}).items()]
        self._cancel: list[Callable[[], None]] = []
        self.left: list[str] = []  # what could not be ended with it, and why
        self._began = time.monotonic()
        self._saving = threading.RLock()  # progress is saved by a thread of its own

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

    def seconds(self) -> float:
        """Since it began."""
        return round(time.monotonic() - self._began, 3)

    def cancel(self) -> None:
        """Ends what this step started."""
        while self._cancel:
            try:
                self._cancel.pop()()
            except Exception as error:  # noqa: BLE001 - one job that cannot be deleted must not keep the others alive
                self.left.append(one_line(error) or type(error).__name__)

    @property
    def name(self) -> str:
        """No other step of the run has it; the same in each attempt."""
        return self.record.name

    @property
    def key(self) -> str:
        """Where its record lies in the store."""
        return f"runs/{self.record.run}/steps/{self.name}.json"

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

        try:
            with self._saving:
                self.record.seconds = self.seconds()
                Store.open(self.context.store_uri).put(self.key, self.record.to_json().encode())
        except ShipwayError as error:
            print(f"shipway: record of step {self.name} not written: {error}", file=sys.stderr)


class Part(Step):
    """A launch within another one's step; its jobs end with that step's.

    Where the whole begins anew from here, nothing is left of what this part and those behind it had told.
    """

    def __init__(self, whole: Step, role: str) -> None:
        self.context, self.whole = whole.context, whole
        parts = whole.record.parts
        place = next(index for index, part in enumerate(parts) if part.role == role)
        for index, part in enumerate(parts[place:], start=place):
            for title in part.reports:
                whole.record.reports.pop(title, None)
            parts[index] = _skipped(whole.record, part.role, part.title)
        self.record = parts[place]
        self.record.state, self.record.started_at = "Running", _now()
        self._began = time.monotonic()

    def report(self, title: str, uri: str) -> None:
        """Adds an HTML report, to the whole too."""
        super().report(title, uri)
        self.whole.report(title, uri)

    def job(self, name: str, on_cancel: Callable[[], None] | None = None) -> None:
        """Names a job, to the whole too, which ends it when it is cancelled."""
        self.whole.job(name, on_cancel)
        super().job(name)

    def save(self) -> None:
        """Writes the whole, which holds this part."""
        self.record.seconds = self.seconds()
        self.whole.save()


_running: list[Step] = []  # a step, and behind it the part that it is at


def at_work() -> Step | None:
    """The step, or the part of it, that runs in this process; None where nothing does."""
    return _running[-1] if _running else None


def _skipped(whole: StepRecord, role: str, title: str) -> StepRecord:
    """A part that has not begun."""
    return StepRecord(run=whole.run, role=role, task=f"{whole.task}.{role}", iteration=whole.iteration, title=title,
                      state="Skipped")  # fmt: skip


@contextmanager
def step(role: str, parts: Mapping[str, str] | None = None) -> Iterator[Step]:
    """Runs a launch as one step of a run, or as a part of the step that calls it.

    A `ShipwayError` ends the process with its exit code after one line on standard error; anything else is a defect
    of ours and keeps its traceback. SIGTERM and SIGINT, or the death of the local runner, cancel the step's jobs.

    Args:
        role: What the launch does.
        parts: Roles and titles of the launches that this one will call.
    """
    if _running:
        with _part(Part(_running[0], role)) as part:
            yield part
        return
    redaction.guard_streams()
    current = Step(role, parts)
    refused = current.refused_before()
    if refused is not None:
        print(f"error: {refused.message}", file=sys.stderr, flush=True)
        raise SystemExit(exit_code_of(refused.kind))
    _install_handlers(current)
    _running.append(current)
    current.save()
    try:
        yield current
    except ShipwayError as error:
        _end(current, error)
        raise SystemExit(type(error).exit_code) from None  # the class's: no instance has a say in it
    except Exception as error:
        if not deaths.is_full(error):
            _end(current, error)
            raise
        full = ShipwayError(deaths.no_space(Path(getattr(error, "filename", None) or tempfile.gettempdir())))
        _end(current, full)
        raise SystemExit(full.exit_code) from None
    except SystemExit as error:  # of a library or a user's code: no step succeeds by leaving half-way
        _end(current, error)
        code = error.code if isinstance(error.code, int) and error.code else 1
        print(f"error: step {current.name} was left by sys.exit({error.code!r})", file=sys.stderr, flush=True)
        raise SystemExit(code) from None
    except BaseException as error:
        _end(current, error)
        raise
    finally:
        _running.clear()
    current.record.state, current.record.progress = "Succeeded", None
    current.save()


@contextmanager
def _part(part: Part) -> Iterator[Part]:
    """Its error ends the whole, which tells it."""
    part.save()
    _running.append(part)
    try:
        yield part
    except BaseException as error:
        _describe(part.record, error)
        raise
    finally:
        _running.remove(part)
    part.record.state, part.record.progress = "Succeeded", None
    part.save()


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
    _describe(current.record, error)
    told = one_line(error)
    if current.left and current.record.error:
        goes_on = f"; what it started may go on: {'; '.join(current.left)}"
        told += goes_on
        current.record.error.message += redaction.text(goes_on)
    current.save()
    if isinstance(error, ShipwayError):
        for line in error.last_lines if isinstance(error, JobFailed) else ():
            print(f"  | {harmless(line)}", file=sys.stderr)  # the log holds them all; the error is one line
        print(f"error: {redaction.text(told)}", file=sys.stderr, flush=True)
        if not isinstance(error, UserError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)


def _describe(record: StepRecord, error: BaseException) -> None:
    """Writes down how a step, or a part of one, ended."""
    record.state = "Cancelled" if isinstance(error, Cancelled | KeyboardInterrupt) else "Failed"
    record.error = StepError.of(error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _install_handlers(current: Step) -> None:
    if threading.current_thread() is not threading.main_thread():
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        current.cancel()
        raise Cancelled(f"step {current.name} was stopped by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    if os.environ.get(WATCH):
        # kfp.local leaves a step alive when the run is killed.
        threading.Thread(target=parents.end_with_lock, args=(Path(os.environ[WATCH]),), daemon=True).start()
