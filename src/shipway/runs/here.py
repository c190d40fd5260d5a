"""Runs on this machine: each in a process of its own, told by its folder while it goes on and by its record after."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway import locks, redaction, references
from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.context import RUN, Context
from shipway.ending import ENDED
from shipway.errors import JobFailed, NotFound
from shipway.local.folder import Request, RunFolder
from shipway.local.hosting import HostProcess, host_is_gone, start_host
from shipway.local.store import has_store, use_store
from shipway.person import who_types
from shipway.runs.detail import StepsAtWork

if TYPE_CHECKING:
    from shipway.local.prepared import Prepared
    from shipway.runs.backend import Event

POLL_S = 0.05
GRACE_S = 30.0  # for steps to end their jobs; then their host is killed, and they with it


class Here:
    """A run on this machine: what `shipway.runs.backend` asks of its place.

    Raises:
        OSError, ValueError, TypeError: its folder tells nothing of it.
    """

    is_here, note, url, poll_s = True, "", "", POLL_S

    def __init__(
        self, key: str, context: Context, *, host: HostProcess | None = None, record: RunRecord | None = None
    ) -> None:
        self.key, self.context = key, context
        self.is_new = True
        self.folder = RunFolder(context.home, key)
        self._at_work = StepsAtWork(self.folder)
        self._host = host
        self._offset = 0
        self._began = 0.0
        self._record = record or self._draft()
        self._steps = {step.name: step for step in self._record.steps}
        self.titles = {step.task: step.title for step in self._record.steps}

    def _draft(self) -> RunRecord:
        """What is known of a run before its host has said anything."""
        request = self.folder.request()
        self._began = (self.folder.path / "request.json").stat().st_mtime
        return RunRecord(
            run=self.key,
            pipeline=request.pipeline_name,
            name=request.name,
            state="Running",
            started_at=datetime.fromtimestamp(self._began, UTC).isoformat(timespec="seconds"),
            started_by=request.started_by,
            idempotency_key=request.idempotency_key,
            params=redaction.parameters(request.params),
        )

    @property
    def name(self) -> str:
        return " ".join(filter(None, [self._record.pipeline, self._record.name]))

    @property
    def state(self) -> str:
        return self._record.state

    @property
    def record(self) -> RunRecord:
        if self.state in ENDED:
            return self._record
        seconds = round(max(time.time() - self._began, 0.0), 1)
        steps = [self._at_work.completed(step) for step in self._steps.values()]
        return self._record.model_copy(update={"steps": steps, "seconds": seconds})

    @property
    def facts(self) -> dict[str, Any]:
        if has_store(self.context):
            self.open_store()
        return {"home": str(self.context.home), "store": self.context.store_uri}

    def open_store(self) -> None:
        use_store(self.context)

    # How it goes on

    @property
    def is_ours(self) -> bool:
        return self._host is not None

    def refresh(self) -> None:
        lives = self._lives()  # looked at first: a host tells the run's end just before its own
        for _ in self._told():
            pass
        if self.state not in ENDED and not lives:
            self._lose()

    def changes(self) -> Iterator[Event]:
        lives = self._lives()
        yield from self._told()
        if self.state in ENDED:
            if self._host is not None:
                self._host.process.wait()
        elif not lives:
            raise self._lose()

    def _told(self) -> Iterator[Event]:
        """What the host has said since; each event is taken in before it is given out."""
        for offset, event in self.folder.events(self._offset):
            self._offset = offset
            if event["kind"] == "tasks":
                self.titles = event.get("titles", {})
            elif event["kind"] == "step":
                step = StepRecord.model_validate(event["step"])
                self._steps[step.name] = step
            elif event["kind"] == "run":
                self._record = RunRecord.model_validate(event["record"])
                self._steps = {step.name: step for step in self._record.steps}
            yield event
        if self.state not in ENDED:
            for name, progress in self._at_work.changes(self._steps.values()):
                yield {"kind": "progress", "step": name, "progress": progress.model_dump(mode="json")}

    def _lives(self) -> bool:
        return (self._host is not None and self._host.process.poll() is None) or self.folder.host_lives()

    def _lose(self) -> JobFailed:
        """Takes in that the host was killed before it could tell the run's end."""
        gone = host_is_gone(self.folder, self._host)
        ended = max((path.stat().st_mtime for path in self.folder.path.iterdir()), default=self._began)
        self._end("Failed", StepError(kind=type(gone).__name__, message=str(gone)), ended)
        return gone

    def _end(self, state: str, error: StepError | None, at: float) -> None:
        for step in self._steps.values():
            step.state = state if step.state == "Running" else step.state  # type: ignore[assignment]
        told = {"state": state, "error": error, "steps": list(self._steps.values())}
        self._record = self._record.model_copy(update={**told, "seconds": round(max(at - self._began, 0.0), 1)})

    # What one does with it

    def cancel(self, timeout_s: float) -> str:
        timeout_s = min(timeout_s, GRACE_S)
        if self.state not in ENDED:
            process = self._host.process if self._host is not None else None
            if process is not None and process.poll() is None:
                _end_process(process, timeout_s)
                was_stopped = True
            else:
                was_stopped = self.folder.stop_host(timeout_s)
            self._host = None
            for _ in self._told():
                pass
            if self.state not in ENDED and was_stopped:  # a killed host could not write how the run ended
                self._end("Cancelled", None, time.time())
            elif self.state not in ENDED:
                self._lose()
        return self.state

    def again(self, changes: Mapping[str, Any], *, is_retry: bool) -> Here:
        from shipway.local.prepared import prepare

        request = self.folder.request()
        prepared = prepare(request.pipeline_name or request.pipeline, {**self.given(), **changes})
        if is_retry:
            return start(prepared, key=self.key, idempotency_key=request.idempotency_key, by=request.started_by)
        return start(prepared)

    def given(self) -> dict[str, Any]:
        """Its parameters as they were given, secrets as they are."""
        request = self.folder.request()
        references.learn(request.secrets)
        params: dict[str, Any] = references.reveal_all(json.loads(json.dumps(request.params)))
        return params

    def logs(self, steps: set[str]) -> tuple[dict[str, str], list[str]]:
        from shipway.remote.noise import own_words

        texts = {}
        for name, path in self.log_files().items():
            if name in steps:
                with path.open(encoding="utf-8", errors="replace") as file:
                    texts[name] = redaction.text("".join(own_words(file)))
        return texts, []

    def detail(self, step: str) -> str:
        record = self._steps.get(step)
        return redaction.text(self._at_work.text(record)) if record is not None else ""

    def log_files(self) -> dict[str, Path]:
        """Log files by step, in the order in which they were last written to."""
        return {path.stem: path for path in sorted(self.folder.path.glob("*.log"), key=lambda p: p.stat().st_mtime)}


def _end_process(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start(
    prepared: Prepared, *, fresh: bool = False, key: str = "", idempotency_key: str = "", by: str | None = None
) -> Here:
    """Starts what was prepared, or follows it where it runs already.

    Args:
        prepared: As `shipway.local.prepared.prepare` gives it.
        fresh: Start anew instead of going on where the same run stopped.
        key: Go on with the run of this key.
        idempotency_key: Start nothing where a run of this pipeline has it, however that ended.
        by: Who starts it; the person at this machine.

    Raises:
        UserError: the data cannot be read, or does not fit the configuration; nothing has been started.
    """
    context = Context.current()
    context.make_home()
    environment = use_store(context)
    run_key = key or prepared.key(fresh=fresh, given=idempotency_key)
    folder = RunFolder(context.home, run_key)
    with locks.alone(folder.home / "starting" / run_key) if idempotency_key else nullcontext():
        if folder.host_lives():  # typed twice at once: follow the one that runs
            return _of_before(Here(run_key, context))
        if idempotency_key and not key and (known := _ended(folder, context)) is not None:
            return _of_before(known)
        request = _request(prepared, run_key, environment, fresh=fresh)
        request.started_by, request.idempotency_key = who_types() if by is None else by, idempotency_key
        folder.create(request)
        started = Here(run_key, context, host=start_host(folder))
        while idempotency_key and not folder.host_lives() and started._lives():
            time.sleep(POLL_S)  # until whoever else has the key sees it
    return started


def _request(prepared: Prepared, run_key: str, environment: dict[str, str], *, fresh: bool) -> Request:
    from shipway.executors import current as current_executor
    from shipway.planning.finder import PIPELINES, pipeline_folders

    current_executor()  # an unknown one is refused now, not when training begins
    if prepared.configuration is not None:
        prepared.configuration.plan.check_here(prepared.configuration.specs)
    if folders := pipeline_folders():
        environment[PIPELINES] = os.pathsep.join(map(str, folders))
    return Request(
        run=run_key,
        pipeline=prepared.pipeline.reference,
        params=prepared.params,
        secrets=prepared.secrets,
        name=str(prepared.params.get("name", "")),
        pipeline_name=prepared.pipeline.name,
        fresh=fresh,
        # Jobs that failed before the command was typed again don't use up its attempts (docs/design.md, Executors).
        environment={**environment, RUN: run_key, "SHIPWAY_INVOCATION": uuid.uuid4().hex},
    )


def _of_before(run: Here) -> Here:
    run.is_new = False
    return run


def _ended(folder: RunFolder, context: Context) -> Here | None:
    """The run of that folder, or of the store, if it has told its end; None where its host was killed, or never was."""
    with suppress(OSError, ValueError, TypeError):
        run = Here(folder.run, context)
        if folder.state():
            run.refresh()
            return run
    from shipway.storage import Store

    key = f"runs/{folder.run}/run.json"
    with suppress(NotFound):
        return Here(folder.run, context, record=RunRecord.from_json(Store.open(context.store_uri).get(key), key))
    return None
