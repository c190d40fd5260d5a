"""The host process of one local run: `python -m shipway.local.host <home>`; the run's key is a line on standard input.

It holds the run's lock, plays the pipeline with kfp.local, and writes events and records. It ends its steps when it is
told to (TERM, INT) or when whoever started it is gone.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from shipway import deaths, locks, parents, private, redaction, references
from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.dag import Place
from shipway.errors import ShipwayError, UserError, one_line
from shipway.local.folder import RunFolder, remove_scratch
from shipway.local.hooks import Hooks
from shipway.local.light import import_kfp

DONE = ("Succeeded", "Cached")


class Host:
    """Plays one run."""

    def __init__(self, home: Path, run: str) -> None:
        self.folder = RunFolder(home, run)
        self.request = self.folder.request()
        references.learn(self.request.secrets)
        self.hooks = Hooks(self.folder, self.on_task, fresh=self.request.fresh)
        self.record = RunRecord(
            run=run,
            pipeline=self.request.pipeline_name,
            name=self.request.name,
            state="Running",
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            started_by=self.request.started_by,
            idempotency_key=self.request.idempotency_key,
            params=redaction.parameters(self.request.params),
        )
        self.states: dict[str, StepRecord] = {}  # by the step's name
        self.titles: dict[str, str] = {}  # of the pipeline's tasks
        self._failure = ""  # kfp's word on the pipeline
        self._began = time.monotonic()

    def on_task(self, place: Place, state: str, facts: dict[str, Any]) -> None:
        """Keeps a step's record, and the record of a cached step's first run beside the cache."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        known = self.states.get(place.name)
        step = StepRecord(
            run=self.record.run,
            task=place.task,
            iteration=place.iteration,
            title=self.titles.get(place.task, ""),
            state=state,
            started_at=known.started_at if known else started,
            seconds=facts.get("seconds", 0.0),
            log=str(self.folder.task_log(place.name)),
        )
        if "error" in facts:
            step.error = StepError(kind="StepFailed", message=redaction.text(one_line(facts["error"])))
        elif state != "Running":
            step = self._with_what_it_said(step, facts)
        self.states[step.name] = step
        if state == "Cached":
            self._put(f"runs/{step.run}/steps/{step.name}.json", step)
        self.folder.emit("step", step=step.model_dump(mode="json"))

    def _with_what_it_said(self, step: StepRecord, facts: dict[str, Any]) -> StepRecord:
        """The step's own record has its outputs, reports and error; a cached step's stands beside the cache."""
        cache_key = facts.get("cache_key")
        kept = self.folder.home / "kfp" / "records" / f"{cache_key}.json"
        if step.state == "Cached":
            said = StepRecord.read(kept) if kept.exists() else None
        else:
            said = self._read_step(step.name)
        if said is not None:
            said = said.moved(step.task, step.iteration)
            step = step.model_copy(
                update={
                    "role": said.role,
                    "outputs": said.outputs,
                    "reports": said.reports,
                    "jobs": said.jobs,
                    "error": said.error,
                    "parts": said.parts,
                    "progress": said.progress,
                }
            )
        if step.state == "Failed" and step.error is None:
            step.error = self._why(step, facts)
        if step.state == "Succeeded" and cache_key:
            step.write(kept)
        return step

    def _why(self, step: StepRecord, facts: dict[str, Any]) -> StepError:
        """Why a step failed that wrote no error of its own: the disk, a signal, else what its log says last."""
        code, log = facts.get("code"), self.folder.task_log(step.name)
        if full := deaths.full_disk(self.folder.home):
            return StepError(kind="DiskFull", message=full)
        if code == 0:  # whatever called os._exit(0): no step succeeds by leaving half-way
            told = f"its process ended with 0 before the step was done; its log is {log}"
            return StepError(kind="StepFailed", message=told, exit_code=code)
        ended = "" if code is None else deaths.how(code, facts.get("oom_kills"))
        if ended.startswith("killed"):
            return StepError(kind="Killed", message=f"its process was {ended}; its log is {log}", exit_code=code)
        said = redaction.text(deaths.last_words(deaths.tail(log)))
        said = said or f"it ended without a word{f' ({ended})' if ended else ''}"
        return StepError(kind="StepFailed", message=f"{said}; its log is {log}", exit_code=code)

    def _read_step(self, name: str) -> StepRecord | None:
        if self.request.environment.get("SHIPWAY_STORE") is None:
            return None
        from shipway.errors import NotFound
        from shipway.storage import Store

        try:
            data = Store.open().get(f"runs/{self.record.run}/steps/{name}.json")
        except NotFound:
            return None
        record = StepRecord.from_json(data, name)
        # An older attempt's record says nothing about this one.
        return record if record.started_at >= self.record.started_at else None

    def _put(self, key: str, document: StepRecord | RunRecord) -> None:
        if self.request.environment.get("SHIPWAY_STORE") is None:
            return
        from shipway.storage import Store

        try:
            Store.open().put(key, document.to_json().encode())
        except ShipwayError as error:
            print(f"shipway: {key} not written: {error}", file=sys.stderr)

    def play(self) -> int:
        """Runs the pipeline; the exit code of the run."""
        os.environ.update(self.request.environment)
        parents.when_gone(self.hooks.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            self._run_pipeline()
            error = None
        except UserError as problem:
            error = StepError(kind=type(problem).__name__, message=str(problem), exit_code=2)
        except Exception as problem:
            if isinstance(problem, OSError) and problem.errno in deaths.FULL:
                raise  # no record could be written either
            traceback.print_exc()  # in the host's log; the record holds one line
            error = StepError(kind=type(problem).__name__, message=redaction.text(one_line(problem)))
        return self._finish(error)

    def _run_pipeline(self) -> None:
        from kfp import local

        from shipway.dag import titles_of
        from shipway.planning import find

        function = find(self.request.pipeline).function
        root = self.folder.home / "kfp"
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(root / "root"),
            raise_on_error=True,  # False says nothing of a failure that is no task's
            enable_caching=True,
            cache_root=str(root / "cache"),
        )
        self.hooks.install()
        self.titles = titles_of(function.pipeline_spec)
        self.folder.emit("tasks", titles=self.titles)
        try:
            function(**self.request.params)
        except RuntimeError as error:  # a task failed, which tells more itself, or kfp's own orchestration did
            traceback.print_exc()
            self._failure = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(str(error).split()))

    def _finish(self, error: StepError | None) -> int:
        failed = next((step for step in self.states.values() if step.state not in DONE), None)
        if error is None and failed is None and self._failure:
            error = StepError(kind="PipelineFailed", message=self._failure)
        is_done = error is None and failed is None
        # Told to stop when there was nothing left to do, it did what it was asked.
        reached = {step.task for step in self.states.values()}
        left = [task for task in self.titles if task not in reached]
        was_stopped = self.hooks.stopping and not (is_done and not left)
        self.record.state = "Cancelled" if was_stopped else "Succeeded" if is_done else "Failed"
        self.record.error = error or (failed.error if failed else None)
        skipped = [
            StepRecord(run=self.record.run, task=task, title=self.titles[task], state="Skipped") for task in left
        ]
        self.record.steps = [*self.states.values(), *skipped]
        self.record.seconds = round(time.monotonic() - self._began, 3)
        self._put(f"runs/{self.record.run}/run.json", self.record)
        self.folder.emit("run", record=self.record.model_dump(mode="json"))
        if self.record.state == "Succeeded":
            return 0
        return 130 if was_stopped else 1

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=self.hooks.stop, daemon=True).start()


def main() -> int:
    """Entry of the host process."""
    import_kfp()
    import kfp.local  # noqa: F401 - a quarter of a second, spent while whoever started us still checks the parameters

    os.umask(private.UMASK)
    redaction.guard_streams()
    run = sys.stdin.readline().strip()
    if not run:
        return 0  # the parameters were refused, or whoever started us is gone
    try:
        return _host(RunFolder(Path(sys.argv[1]), run))
    except OSError as error:
        if error.errno not in deaths.FULL:
            raise
        os._exit(deaths.FULL_DISK)  # at once: what is still to be written to the log would fail again


def _host(folder: RunFolder) -> int:
    """Takes the run's lock, its log and its folder for temporary files, and plays it."""
    with folder.lock.open("a") as lock:
        if not locks.try_lock(lock.fileno()):
            return 75  # another host is on it: the caller follows that one
        with folder.log.open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)  # whom `shipway down` tells to stop
        remove_scratch(folder.home, but=folder.run)
        with folder.scratch():
            return Host(folder.home, folder.run).play()


if __name__ == "__main__":
    sys.exit(main())
