"""Runs from Python: `shipway.run(...)` starts a pipeline here and gives back an object to wait on and look at."""

from __future__ import annotations

import html
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shipway import redaction
from shipway.artifacts import EvaluationRecord, RunRecord, StepError, StepRecord, SweepRecord
from shipway.context import EXECUTOR, HOME, RUN, STORE, Context
from shipway.errors import JobFailed, NotFound, ShipwayError
from shipway.local.folder import Request, RunFolder
from shipway.local.hosting import HostProcess, host_is_gone, start_host

if TYPE_CHECKING:
    from shipway.artifacts import DecisionRecord
    from shipway.local.prepared import Prepared

OnEvent = Callable[[dict[str, Any]], None]
POLL_S = 0.05
STOP_S = 30.0


@dataclass
class Run:
    """One run on this machine.

    Attributes:
        key: The run's key; equal over retries of the same pipeline, parameters, data and code.
        home: Local state folder.
        state: Running, Succeeded, Failed or Cancelled.
        steps: Latest record of every step, by its name.
        titles: The pipeline's tasks, with what they are called on screens.
    """

    key: str
    home: Path
    state: str = "Running"
    steps: dict[str, StepRecord] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    record: RunRecord | None = None
    _host: HostProcess | None = field(default=None, repr=False)
    _offset: int = 0

    @property
    def folder(self) -> RunFolder:
        """Logs and events of the run."""
        return RunFolder(self.home, self.key)

    def events(self) -> Iterator[dict[str, Any]]:
        """Events until the run ends; each is applied to this object before it is given out."""
        while True:
            yield from self._new_events()
            if self.record is not None:
                return
            if not self._host_lives():
                yield from self._new_events()
                if self.state != "Running":
                    return
                self.state = "Failed"
                raise host_is_gone(self.folder, self._host)
            time.sleep(POLL_S)

    def _new_events(self) -> Iterator[dict[str, Any]]:
        for offset, event in self.folder.events(self._offset):
            self._offset = offset
            if event["kind"] == "tasks":
                self.titles = event.get("titles", {})
            elif event["kind"] == "step":
                step = StepRecord.model_validate(event["step"])
                self.steps[step.name] = step
            elif event["kind"] == "run":
                self.record = RunRecord.model_validate(event["record"])
                self.state = self.record.state
                self.steps = {step.name: step for step in self.record.steps}
            yield event

    def _host_lives(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        return self.folder.host_lives()

    @property
    def _process(self) -> subprocess.Popen[bytes] | None:
        return self._host.process if self._host else None

    def wait(self, on_event: OnEvent | None = None) -> Run:
        """Waits for the end; failing is told by `state`, not by an exception."""
        for event in self.events():
            if on_event is not None:
                on_event(event)
        if self._process is not None:
            self._process.wait()
        return self

    def stop(self) -> None:
        """Cancels the run: steps end their jobs, then the host ends."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    @property
    def is_ours(self) -> bool:
        """Whether this process started the run; otherwise it only follows one that another process started."""
        return self._process is not None

    def raise_for_state(self) -> Run:
        """Raises JobFailed with the first error unless the run succeeded."""
        if self.state not in ("Succeeded", "Running"):
            error = self.record.error if self.record else None
            raise JobFailed(f"run {self.key} {self.state}: {error.message if error else 'no reason was recorded'}")
        return self

    def output(self, role: str, fact: str) -> Any:
        """One small fact that a step gave out, `run.output("evaluate", "uri")`; None where there is none.

        Of several steps of one role it is the headline's (`shipway.summary`); `steps` has them all.
        """
        from shipway.summary import fact as fact_of

        return fact_of(list(self.steps.values()), role, fact)

    @property
    def evaluation(self) -> EvaluationRecord | None:
        """The model's score, once evaluate ran."""
        uri = self.output("evaluate", "uri")
        return self._artifact(EvaluationRecord, f"{uri}/record.json") if uri else None

    @property
    def decision(self) -> DecisionRecord | None:
        """What the gate decided, once it ran."""
        from shipway.artifacts import DecisionRecord

        uri = self.output("gate", "uri")
        return self._artifact(DecisionRecord, f"{uri}/record.json") if uri else None

    @property
    def sweep(self) -> SweepRecord | None:
        """Every trial, once the sweep ran."""
        uri = self.output("sweep", "uri")
        return self._artifact(SweepRecord, f"{uri}/record.json") if uri else None

    @property
    def model(self) -> int | None:
        """The registered version, if the gate blessed one."""
        version = self.output("register", "version")
        return None if version is None else int(version)

    @property
    def endpoint(self) -> str | None:
        """Where the model answers."""
        url = self.output("deploy", "url")
        return None if url is None else str(url)

    def _artifact(self, kind: Any, uri: str) -> Any:
        from shipway.storage import read_artifact

        use_store(Context.current())
        return read_artifact(kind, uri)

    def report(self, title: str | None = None) -> str:
        """HTML of a step's report by title, the newest when none is named.

        Raises:
            NotFound: no such report; names those there are.
        """
        from shipway.storage import open_uri
        from shipway.summary import reports_of

        found = {name: uri for name, (_, uri) in reports_of(self.steps.values()).items()}
        title = title or next(reversed(found), None)
        if title not in found:
            raise NotFound(f"report: no report {title!r} in run {self.key}; there are {', '.join(found) or 'none yet'}")
        use_store(Context.current())
        store, key = open_uri(found[title])
        return store.get(key).decode()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(step.label)}</td><td>{step.state}</td><td>{step.seconds:.1f} s</td></tr>"
            for step in self.steps.values()
        )
        return f"<b>Run {self.key}</b>: {self.state}<table><tr><th>step<th>state<th>seconds</tr>{rows}</table>"


def use_store(context: Context) -> dict[str, str]:
    """Starts (or adopts) the embedded store unless the environment names another, and points this process at it.

    Returns:
        The variables that a process needs to find storage.
    """
    environment = {HOME: str(context.home), STORE: context.store_uri, EXECUTOR: context.executor}
    if context.store_uri.startswith("s3://") and "AWS_ENDPOINT_URL" not in os.environ:
        from shipway.storage import embedded
        from shipway.storage.buckets import ensure_bucket

        environment |= embedded.environment(embedded.start(context.make_home()))
        os.environ.update(environment)
        ensure_bucket(urlsplit(context.store_uri).netloc)
    os.environ.update(environment)
    return environment


def run(
    pipeline: str,
    params: Mapping[str, Any] | None = None,
    *,
    fresh: bool = False,
    on_event: OnEvent | None = None,
    wait: bool = False,
    **more: Any,
) -> Run:
    """Starts a pipeline on this machine.

    Args:
        pipeline: A pipeline's name, `package.module:function`, or `file.py[:function]`.
        params: The pipeline's parameters; keyword arguments are added to them.
        fresh: Start anew instead of going on where the same run stopped, and use no cached step.
        on_event: Called with every event while waiting.
        wait: Wait for the end before returning.

    Raises:
        InvalidSpec: a parameter is wrong; nothing has been started.
    """
    from shipway.executors import current as current_executor
    from shipway.local.prepared import prepare

    current_executor()  # an unknown one is refused now, not when training begins
    started = start(prepare(pipeline, {**(params or {}), **more}), fresh=fresh)
    return started.wait(on_event) if wait or on_event is not None else started


def start(prepared: Prepared, *, fresh: bool = False) -> Run:
    """Starts what was prepared, or follows it where it runs already.

    Raises:
        UserError: the data cannot be read, or does not fit the configuration; nothing has been started.
    """
    from shipway.planning.finder import PIPELINES, pipeline_folders

    context = Context.current()
    context.make_home()
    environment = use_store(context)
    key = prepared.key(fresh=fresh)
    folder = RunFolder(context.home, key)
    if folder.host_lives():  # typed twice at once: follow the one that runs
        return Run(key, context.home)
    if folders := pipeline_folders():
        environment[PIPELINES] = os.pathsep.join(map(str, folders))
    request = Request(
        run=key,
        pipeline=prepared.pipeline.reference,
        params=prepared.params,
        secrets=prepared.secrets,
        name=str(prepared.params.get("name", "")),
        pipeline_name=prepared.pipeline.name,
        fresh=fresh,
        # Jobs that failed before the command was typed again don't use up its attempts (docs/design.md, Executors).
        environment={**environment, RUN: key, "SHIPWAY_INVOCATION": uuid.uuid4().hex},
    )
    folder.create(request)
    return Run(key, context.home, _host=start_host(folder))


def list_runs(context: Context | None = None) -> list[RunRecord]:
    """All runs that storage knows, newest first."""
    from shipway.storage import Store

    context = context or Context.current()
    use_store(context)
    store = Store.open(context.store_uri)
    found: list[RunRecord] = []
    for entry in store.list("runs/"):
        if entry.key.count("/") == 2 and entry.key.endswith("/run.json"):
            try:
                found.append(RunRecord.from_json(store.get(entry.key), entry.key))
            except ShipwayError as error:  # one record that cannot be read must not hide the others
                print(f"shipway: {error}", file=sys.stderr)
    return sorted(found, key=lambda record: record.started_at, reverse=True)


def unfinished_runs(home: Path) -> Iterator[Run]:
    """Runs of this machine that have not told their end: they go on, or their host was killed."""
    for path in sorted((home / "runs").glob("*/request.json")):
        found = None
        with suppress(OSError, ValueError, TypeError):  # it was removed meanwhile, or another Shipway wrote it
            found = _unfinished(RunFolder(home, path.parent.name))
        if found is not None:
            yield found


def _unfinished(folder: RunFolder) -> Run | None:
    lives = folder.host_lives()  # looked at first: a host tells the run's end just before its own
    found = Run(folder.run, folder.home)
    for _ in found._new_events():
        pass
    if found.record is not None:
        return None
    request = folder.request()
    began = (folder.path / "request.json").stat().st_mtime
    error = None
    if not lives:
        found.state = "Failed"
        gone = host_is_gone(folder, None)
        error = StepError(kind=type(gone).__name__, message=str(gone))
        for step in found.steps.values():
            step.state = "Failed" if step.state == "Running" else step.state
    ended = time.time() if lives else max(path.stat().st_mtime for path in folder.path.iterdir())
    found.record = RunRecord.model_validate(
        {
            "run": folder.run, "pipeline": request.pipeline_name, "name": request.name, "state": found.state,
            "started_at": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
            "seconds": round(max(ended - began, 0.0), 1), "steps": list(found.steps.values()), "error": error,
            "params": redaction.parameters(request.params),
        }
    )  # fmt: skip
    return found


def load_run(key: str, context: Context | None = None) -> Run:
    """A run of earlier, or one that is under way on this machine, by its key or the beginning of it.

    Raises:
        NotFound: none, or more than one, begins so.
    """
    context = context or Context.current()
    here = [run for run in unfinished_runs(context.home) if key and run.key.startswith(key)]
    if len(here) == 1:
        return here[0]
    records = [record for record in list_runs(context) if key and record.run.startswith(key)]
    if len(records) != 1:
        raise NotFound(f"run: {len(records)} runs begin with {key!r}; `shipway runs list` names them")
    record = records[0]
    return Run(
        record.run,
        context.home,
        record.state,
        {step.name: step for step in record.steps},
        record=record,
    )
