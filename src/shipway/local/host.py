"""The host process of one local run: `python -m shipway.local.host <home>`; the run's key is a line on standard input.

It holds the run's lock, plays the pipeline with kfp.local, and writes events and records. It ends its steps when it is
told to (TERM, INT) or when whoever started it is gone.
"""

from __future__ import annotations

import fcntl
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

from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.errors import ShipwayError, UserError
from shipway.local.folder import RunFolder
from shipway.local.hooks import Hooks
from shipway.summary import redact

POLL_S = 0.2
DONE = ("Succeeded", "Cached")


class Host:
    """Plays one run."""

    def __init__(self, home: Path, run: str) -> None:
        self.folder = RunFolder(home, run)
        self.request = self.folder.request()
        self.hooks = Hooks(self.folder, self.on_task, fresh=self.request.fresh)
        self.record = RunRecord(
            run=run,
            pipeline=self.request.pipeline_name,
            name=self.request.name,
            state="Running",
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            params=redact(self.request.params),
        )
        self.states: dict[str, StepRecord] = {}
        self._failure = ""  # kfp's word on the pipeline
        self._began = time.monotonic()

    def on_task(self, task: str, state: str, facts: dict[str, Any]) -> None:
        """Keeps a step's record, and the record of a cached step's first run beside the cache."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        known = self.states.get(task)
        step = StepRecord(
            run=self.record.run,
            task=task,
            title=facts.get("title") or (known.title if known else ""),
            state=state,
            started_at=known.started_at if known else started,
            seconds=facts.get("seconds", 0.0),
            log=str(self.folder.task_log(task)),
        )
        if "error" in facts:
            step.error = StepError(kind="StepFailed", message=facts["error"])
        elif state != "Running":
            step = self._with_what_it_said(step, facts.get("cache_key"))
        self.states[task] = step
        if state == "Cached":
            self._put(f"runs/{step.run}/steps/{task}.json", step)
        self.folder.emit("step", step=step.model_dump(mode="json"))

    def _with_what_it_said(self, step: StepRecord, cache_key: str | None) -> StepRecord:
        """The step's own record has its outputs, reports and error; a cached step's stands beside the cache."""
        kept = self.folder.home / "kfp" / "records" / f"{cache_key}.json"
        if step.state == "Cached":
            said = StepRecord.read(kept) if kept.exists() else None
        else:
            said = self._read_step(step.task)
        if said is not None:
            step = step.model_copy(
                update={
                    "outputs": said.outputs,
                    "reports": said.reports,
                    "jobs": said.jobs,
                    "error": said.error,
                    "parts": said.parts,
                }
            )
        if step.state == "Failed" and step.error is None:
            step.error = StepError(kind="StepFailed", message=_last_line(self.folder.task_log(step.task)))
        if step.state == "Succeeded" and cache_key:
            step.write(kept)
        return step

    def _read_step(self, task: str) -> StepRecord | None:
        if self.request.environment.get("SHIPWAY_STORE") is None:
            return None
        from shipway.errors import NotFound
        from shipway.storage import Store

        try:
            data = Store.open().get(f"runs/{self.record.run}/steps/{task}.json")
        except NotFound:
            return None
        record = StepRecord.from_json(data, task)
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
        threading.Thread(target=self._watch_parent, args=(os.getppid(),), daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            tasks = self._run_pipeline()
            error = None
        except UserError as problem:
            tasks, error = [], StepError(kind=type(problem).__name__, message=str(problem), exit_code=2)
        except Exception as problem:  # noqa: BLE001 - the traceback is in the host's log, the record holds one line
            traceback.print_exc()
            tasks, error = [], StepError(kind=type(problem).__name__, message=str(problem))
        return self._finish(tasks, error)

    def _run_pipeline(self) -> list[str]:
        from kfp import local

        from shipway.local.pipelines import leaf_tasks, load_pipeline

        function = load_pipeline(self.request.pipeline)
        root = self.folder.home / "kfp"
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(root / "root"),
            raise_on_error=True,  # False says nothing of a failure that is no task's
            enable_caching=True,
            cache_root=str(root / "cache"),
        )
        self.hooks.install()
        tasks = leaf_tasks(function.pipeline_spec)
        self.folder.emit("tasks", tasks=tasks)
        try:
            function(**self.request.params)
        except RuntimeError as error:  # a task failed, which tells more itself, or kfp's own orchestration did
            traceback.print_exc()
            self._failure = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(str(error).split()))
        return tasks

    def _finish(self, tasks: list[str], error: StepError | None) -> int:
        failed = next((step for step in self.states.values() if step.state not in DONE), None)
        if error is None and failed is None and self._failure:
            error = StepError(kind="PipelineFailed", message=self._failure)
        is_done = error is None and failed is None
        # Told to stop when there was nothing left to do, it did what it was asked.
        was_stopped = self.hooks.stopping and not (is_done and all(task in self.states for task in tasks))
        self.record.state = "Cancelled" if was_stopped else "Succeeded" if is_done else "Failed"
        self.record.error = error or (failed.error if failed else None)
        skipped = [StepRecord(run=self.record.run, task=t, state="Skipped") for t in tasks if t not in self.states]
        self.record.steps = [*self.states.values(), *skipped]
        self.record.seconds = round(time.monotonic() - self._began, 3)
        self._put(f"runs/{self.record.run}/run.json", self.record)
        self.folder.emit("run", record=self.record.model_dump(mode="json"))
        if self.record.state == "Succeeded":
            return 0
        return 130 if was_stopped else 1

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=self.hooks.stop, daemon=True).start()

    def _watch_parent(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        self.hooks.stop()


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "the step ended without a word"
    return next((line for line in reversed(lines) if line.strip()), "the step ended without a word")


def main() -> int:
    """Entry of the host process."""
    import kfp.local  # noqa: F401 - half a second, spent while whoever started us still checks the parameters

    run = sys.stdin.readline().strip()
    if not run:
        return 0  # the parameters were refused, or whoever started us is gone
    host = Host(Path(sys.argv[1]), run)
    with host.folder.log.open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    with host.folder.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 75  # another host is on it: the caller follows that one
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)  # whom `shipway down` tells to stop
        return host.play()


if __name__ == "__main__":
    sys.exit(main())
