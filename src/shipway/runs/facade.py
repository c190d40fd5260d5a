"""`Run`: one object for a run on this machine and on Kubeflow."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shipway.ending import ENDED
from shipway.errors import InvalidSpec, JobFailed, NotFound, ShipwayError, nearest
from shipway.runs.backend import Backend, Event, OnEvent
from shipway.summary import build_summary, endpoint_of, fact, figures_of, measured, model_of, reports_of

if TYPE_CHECKING:
    from shipway.artifacts import (
        DecisionRecord,
        EvaluationRecord,
        RunRecord,
        StepRecord,
        SweepRecord,
        TrainingRecord,
    )
    from shipway.runs.endpoint import Endpoint
    from shipway.runs.model import Model
    from shipway.runs.page import Page

CANCEL_S = 120.0


class Run:
    """A run, here or on Kubeflow, as it was when it was last looked at: `refresh`, `wait` and printing it look again.

    Attributes:
        backend: Its place.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    # What it is

    @property
    def key(self) -> str:
        """Its key; Kubeflow's id of it there."""
        return self.backend.key

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
    def record(self) -> RunRecord:
        """All that is known of it, as one document: pipeline, parameters, steps, error, who started it."""
        return self.backend.record

    @property
    def steps(self) -> dict[str, StepRecord]:
        """The newest record of every step, by its name, in the pipeline's order."""
        return {step.name: step for step in self.record.steps}

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

    @property
    def note(self) -> str:
        """Why the records of its steps could not be read; empty where they could."""
        return self.backend.note

    # What it found

    def output(self, role: str, name: str) -> Any:
        """One small fact that a step gave out, `run.output("evaluate", "uri")`; None where there is none.

        Of several steps of one role it is the headline's (`shipway.summary`); `steps` has them all.
        """
        return fact(self.record.steps, role, name)

    @property
    def metrics(self) -> dict[str, float]:
        """What the evaluations measured first, named by the split that it was measured on: `test_accuracy`.

        Of several on one split it is the weightiest's (`shipway.summary.of_role`).
        """
        return {name: value for name, (value, _) in measured(self.record.steps).items()}

    @property
    def figures(self) -> str:
        """The same for a person: `test accuracy 93.4 %, test macro f1 91.0 %`."""
        return figures_of(self.record.steps)

    @property
    def evaluation(self) -> EvaluationRecord | None:
        """The model's score, once it was evaluated."""
        from shipway.artifacts import EvaluationRecord

        found: EvaluationRecord | None = self._artifact(EvaluationRecord, "evaluate")
        return found

    @property
    def decision(self) -> DecisionRecord | None:
        """What the gate decided, once it did."""
        from shipway.artifacts import DecisionRecord

        found: DecisionRecord | None = self._artifact(DecisionRecord, "gate")
        return found

    @property
    def sweep(self) -> SweepRecord | None:
        """Every trial, once the sweep ended."""
        from shipway.artifacts import SweepRecord

        found: SweepRecord | None = self._artifact(SweepRecord, "sweep")
        return found

    @property
    def training(self) -> TrainingRecord | None:
        """What a function gave that was trained (`shipway.train`), once it ended."""
        from shipway.artifacts import TrainingRecord

        found: TrainingRecord | None = self._artifact(TrainingRecord, "train")
        return found

    @property
    def model(self) -> Model | None:
        """The registered version, if the gate blessed one."""
        told = model_of(self.record)
        if told is None:
            return None
        from shipway.runs.model import Model

        self.backend.open_store()
        return Model(told["name"], told["version"])

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the model answers, once it was deployed."""
        told = endpoint_of(self.record)
        if told is None:
            return None
        from shipway.runs.endpoint import Endpoint

        return Endpoint(told["name"], told["predict_url"], told["version"])

    @property
    def reports(self) -> dict[str, str]:
        """URIs of the steps' HTML reports, by title."""
        return {title: uri for title, (_, uri) in reports_of(self.record.steps).items()}

    def report(self, title: str | None = None) -> Page:
        """A step's report by title, the newest when none is named: HTML, which a notebook shows.

        Raises:
            NotFound: no such report; names those there are.
        """
        from shipway.runs.page import Page
        from shipway.storage import open_uri

        found = self.reports
        title = title or next(reversed(found), None)
        if title is None or title not in found:
            if self.note:
                raise NotFound(f"no report {title!r} of run {self.key}: {self.note}", field="report", given=title)
            if not found:
                self.backend.open_store()
            raise NotFound(
                f"no report {title!r} in run {self.key}; there are {', '.join(found) or 'none yet'}"
                f"{nearest(title or '', found)}",
                field="report",
                given=title,
            )
        self.backend.open_store()
        store, key = open_uri(found[title])
        return Page(store.get(key).decode())

    def logs(self, step: str | None = None) -> str:
        """What steps printed: the one that is named by title, name or role; else the one that failed, else all.

        Raises:
            NotFound: no step is called so; names those there are.
        """
        from shipway.runs.wanted import wanted_steps

        names = wanted_steps(self.steps, step, f"run {self.key}")
        texts, notes = self.backend.logs(set(names))
        shown = [text if len(texts) == 1 else f"==> {name} <==\n{text}" for name, text in texts.items()]
        return "\n".join([*shown, *notes])

    def _artifact(self, kind: Any, role: str) -> Any:
        from shipway.storage import read_artifact

        uri = self.output(role, "uri")
        if not uri:
            return None
        self.backend.open_store()
        return read_artifact(kind, f"{uri}/record.json")

    def summary(self) -> dict[str, Any]:
        """All of it as one plain document, as `shipway runs show --json` prints it (`shipway.summary`)."""
        record, facts = self.record, self.backend.facts
        where = {key: facts.pop(key, "") for key in ("home", "store")}
        return {**build_summary(record, **where), "note": self.note, **facts}

    # What one does with it

    def refresh(self) -> Run:
        """Looks at it again."""
        self.backend.refresh()
        return self

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """`tasks`, `state`, `step` and `run` events until the run ends, each change once.

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
