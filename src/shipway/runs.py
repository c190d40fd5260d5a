"""Runs from Python: `shipway.run(...)` starts a pipeline here and gives back an object to wait on and look at."""

from __future__ import annotations

import hmac
import html
import os
import secrets
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

from shipway import private, redaction, references
from shipway.artifacts import EvaluationRecord, RunRecord, StepError, StepRecord, SweepRecord
from shipway.canonical import canonical_json
from shipway.context import EXECUTOR, HOME, RUN, STORE, Context
from shipway.errors import InvalidSpec, JobFailed, NotFound, ShipwayError, nearest
from shipway.local.folder import Request, RunFolder
from shipway.local.hosting import HostProcess, host_is_gone, start_host
from shipway.local.parameters import typed

if TYPE_CHECKING:
    from shipway.artifacts import DecisionRecord

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
        steps: Latest record of every step, by task name.
    """

    key: str
    home: Path
    state: str = "Running"
    steps: dict[str, StepRecord] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
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
                self.tasks = event["tasks"]
            elif event["kind"] == "step":
                step = StepRecord.model_validate(event["step"])
                self.steps[step.task] = step
            elif event["kind"] == "run":
                self.record = RunRecord.model_validate(event["record"])
                self.state = self.record.state
                self.steps = {step.task: step for step in self.record.steps}
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
        """One small fact that a step gave out, `run.output("evaluate", "uri")`; None where there is none."""
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

        found = {name: uri for step in self.steps.values() for name, uri in step.reports.items()}
        title = title or next(reversed(found), None)
        if title not in found:
            raise NotFound(f"report: no report {title!r} in run {self.key}; there are {', '.join(found) or 'none yet'}")
        use_store(Context.current())
        store, key = open_uri(found[title])
        return store.get(key).decode()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(step.title or step.task)}</td>"
            f"<td>{step.state}</td><td>{step.seconds:.1f} s</td></tr>"
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


def check_params(reference: str, pipeline: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters turned into the pipeline's own types.

    Raises:
        InvalidSpec: an unknown or missing parameter, or a value of the wrong type.
    """
    from shipway.local.pipelines import load_pipeline

    inputs = load_pipeline(reference).component_spec.inputs or {}
    checked: dict[str, Any] = {}
    for key, value in params.items():
        if key not in inputs:
            raise InvalidSpec(
                f"{key}: unknown parameter of {pipeline}; expected one of {', '.join(inputs)}{nearest(key, inputs)}"
            )
        if value is not None:  # as an empty line of a file gives it: not given
            checked[key] = typed(key, inputs[key].type, value)
    missing = [key for key, spec in inputs.items() if not spec.optional and checked.get(key) in (None, "")]
    if missing:
        raise InvalidSpec(f"{missing[0]}: missing; {pipeline} needs {', '.join(f'{key}=...' for key in missing)}")
    return checked


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
        pipeline: A shipped pipeline's name, `package.module:function`, or `file.py[:function]`.
        params: The pipeline's parameters; keyword arguments are added to them.
        fresh: Start anew instead of going on where the same run stopped, and use no cached step.
        on_event: Called with every event while waiting.
        wait: Wait for the end before returning.

    Raises:
        InvalidSpec: a parameter is wrong; nothing has been started.
    """
    from shipway.executors import current as current_executor
    from shipway.local.pipelines import reference_of

    context = Context.current()
    current_executor()  # an unknown one is refused now, not when training begins
    reference = reference_of(pipeline)
    given = _absolute_data(check_params(reference, pipeline, {**(params or {}), **more}))
    checked, hidden = references.hide(given)
    context.make_home()
    environment = use_store(context)
    key = run_key(pipeline, reference, checked, fresh)
    folder = RunFolder(context.home, key)
    request = Request(
        run=key,
        pipeline=reference,
        params=checked,
        secrets=hidden,
        name=str(checked.get("name", "")),
        pipeline_name=pipeline,
        fresh=fresh,
        # Jobs that failed before the command was typed again don't use up its attempts (docs/design.md, Executors).
        environment={**environment, RUN: key, "SHIPWAY_INVOCATION": uuid.uuid4().hex},
    )
    if folder.host_lives():  # typed twice at once: follow the one that runs
        started = Run(key, context.home)
    else:
        folder.create(request)
        started = Run(key, context.home, _host=start_host(folder))
    return started.wait(on_event) if wait or on_event is not None else started


def _absolute_data(params: dict[str, Any]) -> dict[str, Any]:
    data = params.get("data")
    if isinstance(data, str) and data and "://" not in data and not redaction.is_reference(data):
        params["data"] = str(Path(data).expanduser().absolute())
    return params


def run_key(pipeline: str, reference: str, params: Mapping[str, Any], fresh: bool) -> str:
    """The run's key: equal for the same pipeline, validated parameters, data and code, so that a killed run goes on."""
    from shipway.executors import identity
    from shipway.local.pipelines import built_in

    context = Context.current()

    source, _, function = reference.rpartition(":")
    if fresh:
        return identity.run_key(function, params, {"fresh": uuid.uuid4().hex})
    if pipeline in built_in():
        from shipway.components.plan.core import make_plan

        plan = make_plan(pipeline, params)._asdict()
        prints = {key: plan.pop(key) for key in ("data_fingerprint", "code_fingerprint")}
        return identity.run_key(function, plan, prints)
    path = Path(source)
    return identity.run_key(
        function,
        {**params, "pipeline": reference, **_told_apart(context, params)},
        {"code": path.read_text(encoding="utf-8") if path.is_file() else ""},
    )


def _told_apart(context: Context, params: Mapping[str, Any]) -> dict[str, str]:
    """Keeps runs apart that differ in a secret alone: by a key of this home, so that a run's name tells nothing."""
    real = references.reveal_all(params)
    if real == params:
        return {}
    path = context.make_home() / "key"
    if not path.exists():
        private.write_text(path, secrets.token_hex(32))
    key = path.read_text(encoding="utf-8").encode()
    return {"secrets": hmac.new(key, canonical_json(real).encode(), "sha256").hexdigest()}


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
        {s.task: s for s in record.steps},
        [s.task for s in record.steps],
        record,
    )
