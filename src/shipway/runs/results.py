"""What a run, here or on Kubeflow, gave: figures, records, model, endpoint, pages and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from shipway.artifacts import DecisionRecord, EvaluationRecord, RunRecord, StepRecord, SweepRecord, TrainingRecord
from shipway.errors import NotFound, nearest
from shipway.runs.backend import Backend
from shipway.summary import build_summary, endpoint_of, fact, figures_of, measured, model_of, reports_of

if TYPE_CHECKING:
    from shipway.runs.endpoint import Endpoint
    from shipway.runs.model import Model
    from shipway.runs.page import Page

A = TypeVar("A", DecisionRecord, EvaluationRecord, SweepRecord, TrainingRecord)


class Results:
    """All that is told of a run by its steps, as they were when it was last looked at.

    Attributes:
        backend: The run's place.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def key(self) -> str:
        """Its key; Kubeflow's id of it there."""
        return self.backend.key

    @property
    def record(self) -> RunRecord:
        """All that is known of it, as one document: pipeline, parameters, steps, error, who started it."""
        return self.backend.record

    @property
    def steps(self) -> dict[str, StepRecord]:
        """The newest record of every step, by its name, in the pipeline's order."""
        return {step.name: step for step in self.record.steps}

    @property
    def note(self) -> str:
        """Why the records of its steps could not be read; empty where they could."""
        return self.backend.note

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
        return self._artifact(EvaluationRecord, "evaluate")

    @property
    def decision(self) -> DecisionRecord | None:
        """What the gate decided, once it did."""
        return self._artifact(DecisionRecord, "gate")

    @property
    def sweep(self) -> SweepRecord | None:
        """Every trial, once the sweep ended."""
        return self._artifact(SweepRecord, "sweep")

    @property
    def training(self) -> TrainingRecord | None:
        """What a function gave that was trained (`shipway.train`), once it ended."""
        return self._artifact(TrainingRecord, "train")

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

        self.backend.open_store()
        reports = self.reports
        title = title or next(reversed(reports), None)
        if title is None or title not in reports:
            there = self.note or f"there are {', '.join(reports) or 'none yet'}{nearest(title or '', reports)}"
            raise NotFound(f"no report {title!r} in run {self.key}; {there}", field="report", given=title)
        store, key = open_uri(reports[title])
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

    def summary(self) -> dict[str, Any]:
        """All of it as one plain document, as `shipway runs show --json` prints it (`shipway.summary`)."""
        record, facts = self.record, self.backend.facts
        where = {key: facts.pop(key, "") for key in ("home", "store")}
        return {**build_summary(record, **where), "note": self.note, **facts}

    def _artifact(self, kind: type[A], role: str) -> A | None:
        from shipway.storage import read_artifact

        uri = self.output(role, "uri")
        if not uri:
            return None
        self.backend.open_store()
        return read_artifact(kind, f"{uri}/record.json")
