"""A run in Kubeflow, as `shipway.runs.backend` asks: told by the API and by the records in the cluster's store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shipway import redaction
from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.dag import own_name, titles_of
from shipway.ending import ENDED, Sources, Stop, state_of
from shipway.errors import InvalidSpec, KubeflowUnavailable, LostAnswer, NotFound, ShipwayError
from shipway.remote import records
from shipway.remote.api import Api
from shipway.remote.content import deadline_of, spec_of
from shipway.remote.refused import WorkflowGone
from shipway.remote.started import read_starter
from shipway.remote.tasks import Node, moment, nodes_of, plain_names, read_tasks

if TYPE_CHECKING:
    from shipway.runs.backend import Event

POLL_S = 2.0
SILENT_S = 60.0  # a Workflow that is there is reported as being cancelled within seconds


class KubeflowRun:
    """A run in Kubeflow, as it was when it was last looked at."""

    is_here = is_ours = False

    def __init__(self, api: Api, run: Any, *, is_new: bool = True) -> None:
        self._api = api
        self._run = run
        self._spec: dict[str, Any] | None = None
        self._noted: str | None = None  # what the run's last step wrote of its end, once it was asked for
        self._record: RunRecord | None = None
        self._seen: dict[str, str] | None = None  # what `changes` gave last: the run's state, and each step's
        self._far: dict[str, float] = {}  # step -> when it said how far it is
        self.key = str(run.run_id)
        self.is_new = is_new
        self._note = ""
        self.poll_s = POLL_S

    # What it is

    @property
    def name(self) -> str:
        """As Kubeflow's UI lists it."""
        return str(self._run.display_name or "")

    @property
    def state(self) -> str:
        """Pending, Running, Cancelling, Succeeded, Failed, Cancelled, Skipped or Paused, by the rule of `ending`."""
        state, is_cancelled = str(self._run.state), self._is_cancelled()
        # Kubeflow's history may lack the cancel: the server writes it down only when it next hears of the Workflow.
        if state == "FAILED" and not is_cancelled and self._noted is None:
            self._noted = records.noted_state(self.key, since=self._began())
        return state_of(Sources(state, "cancelled" if is_cancelled else "unknown", self._noted or ""))

    @property
    def stop(self) -> Stop:
        """What ended it from outside, if anything did."""
        if self.state == "Cancelled":
            return "cancelled"
        began, ended = self._began() or self.started_at, moment(self._run.finished_at)
        if self._run.state != "FAILED" or not self.deadline_s or not (began and ended):
            return "none"
        return "deadline" if (ended - began).total_seconds() >= self.deadline_s else "none"

    def _is_cancelled(self) -> bool:
        return any(str(status.state) in ("CANCELING", "CANCELED") for status in self._history())

    def _history(self) -> list[Any]:
        """What happened since the run was started, or started again by a retry."""
        history = list(self._run.state_history or [])
        ends = [at for at, status in enumerate(history[:-1]) if str(status.state) in ("SUCCEEDED", "FAILED")]
        return history[ends[-1] + 1 :] if ends else history

    def _began(self) -> datetime | None:
        """When it was retried; None for a run that was not."""
        is_retry = len(self._history()) < len(self._run.state_history or [])
        return moment(self._history()[0].update_time) if is_retry else None

    @property
    def titles(self) -> dict[str, str]:
        """Its tasks, name -> display name, as its pipeline version says; empty where that is gone."""
        return titles_of(spec_of(self._whole_spec()))

    @property
    def deadline_s(self) -> int:
        """Seconds after which Kubeflow ends it; 0 for none."""
        return deadline_of(self._whole_spec())

    def _whole_spec(self) -> dict[str, Any]:
        if self._spec is None:
            try:
                self._spec = self._api.held_spec(self.pipeline_id, self.pipeline_version_id)
            except (NotFound, ValueError):  # deleted, or never uploaded: then the run may hold it
                self._spec = dict(self._run.pipeline_spec or {})
        return self._spec

    @property
    def pipeline_version_id(self) -> str:
        """Id of the version that runs; empty for a pipeline that was never uploaded."""
        reference = self._run.pipeline_version_reference
        return str((reference and reference.pipeline_version_id) or "")

    @property
    def pipeline_id(self) -> str:
        """Id of its pipeline."""
        reference = self._run.pipeline_version_reference
        return str((reference and reference.pipeline_id) or "")

    @property
    def params(self) -> dict[str, Any]:
        """The parameters it was given, secrets among them."""
        config = self._run.runtime_config
        return dict((config and config.parameters) or {})

    @property
    def started_at(self) -> datetime | None:
        """When it was created."""
        return moment(self._run.created_at)

    @property
    def recurring_run_id(self) -> str:
        """Id of the recurring run that started it; empty for none."""
        return str(self._run.recurring_run_id or "")

    @property
    def url(self) -> str:
        """Its page in the UI; empty where the UI's address is not known."""
        ui = self._api.settings.ui
        return f"{ui.rstrip('/')}/#/runs/details/{self.key}" if ui else ""

    @property
    def record(self) -> RunRecord:
        """What Kubeflow says of the run and its steps, with what their records say as far as they can be read."""
        if self._record is None:
            steps = self._steps()
            began, ended = self.started_at, moment(self._run.finished_at) or datetime.now(UTC)
            by, key = read_starter(self._run)
            self._record = RunRecord.model_validate(
                {
                    "run": self.key,
                    "pipeline": str((spec_of(self._whole_spec()).get("pipelineInfo") or {}).get("name") or self.name),
                    "name": str(self.params.get("name", "")),
                    "state": self.state if self.state in ENDED else "Running",
                    "started_at": began.isoformat() if began else "",
                    "seconds": round(max(0.0, (ended - began).total_seconds()), 1) if began else 0.0,
                    "started_by": by,
                    "idempotency_key": key,
                    "params": redaction.parameters(self.params),
                    "steps": list(steps.values()),
                    "error": self._error(list(steps.values())),
                }
            )
        return self._record

    def _steps(self) -> dict[str, StepRecord]:
        state, nodes = self.state, self._nodes()
        titles = self.titles or dict.fromkeys(plain_names(nodes), "")
        seen = read_tasks(nodes, titles, run=self.key, run_state=state)
        cached = [task for task in titles if any(node.state == "Cached" for node in seen[own_name(task)])]
        told, self._note = records.try_steps(self.key, cached)
        is_all = not self._note and records.cluster_store() is not None
        return records.merge(titles, seen, told, run=self.key, run_state=state, stop=self.stop, is_all=is_all)

    def _error(self, steps: list[StepRecord]) -> StepError | None:
        if self.stop == "deadline":
            return StepError(kind="Deadline", message=f"past the run's deadline of {self.deadline_s} s")
        drivers = self.failed_drivers
        if drivers and self.state == "Failed" and not any(step.state == "Failed" for step in steps):
            logs = f"kubectl logs -l pipeline/runid={self.key} -c main, in the run's namespace"
            told = f"Kubeflow's own {drivers[0]} failed, before any step could: {logs}"
            return StepError(kind="Driver", message=told)
        return next((step.error for step in steps if step.error is not None), None)

    @property
    def note(self) -> str:
        """Why the steps' records could not be read when they were last asked for."""
        return self._note if self.record else ""

    @property
    def facts(self) -> dict[str, Any]:
        """Its name, state and address in Kubeflow, and the cluster's store as far as it is named here."""
        store = None
        if not self.note:
            with suppress(ShipwayError):
                store = records.cluster_store()
        there = {"kfp_name": self.name, "kfp_state": self.state, "url": self.url}
        return {"store": store.uri if store else "", **there}

    def open_store(self) -> None:
        """Nothing where the environment names the cluster's store."""
        if why := records.missing_store():
            raise NotFound(f"its artifacts cannot be read from here: {why}", field=f"run {self.key}")

    @property
    def failed_drivers(self) -> list[str]:
        """Pods of Kubeflow's own that failed before the step or DAG that they were to start."""
        return [node.name for node in self._nodes() if node.state == "Failed" and node.name.endswith("-driver")]

    def _nodes(self) -> list[Node]:
        return nodes_of(self._run.run_details and self._run.run_details.task_details, self._began())

    # What one does with it

    def refresh(self) -> None:
        """Asks Kubeflow how it is now."""
        self._take(self._api.run(self.key))

    def _take(self, run: Any) -> None:
        self._run, self._noted, self._record = run, None, None

    def changes(self) -> Iterator[Event]:
        """What is new since the last look, which the first time is the one that made this object."""
        if self._seen is None:
            self._seen = {}
            yield {"kind": "tasks", "titles": self.titles}
        else:
            try:
                self.refresh()
            except KubeflowUnavailable as error:  # the run on Kubeflow goes on all the same
                raise KubeflowUnavailable(
                    f"{error}; run {self.key} goes on without being watched: shipway watch {self.key} follows it again"
                ) from error
        if self._seen.get("") != self.state:
            self._seen[""] = self.state
            yield {"kind": "state", "state": self.state}
        for step in self.record.steps:
            if step.state != "Pending" and self._seen.get(step.name) != step.state:
                self._seen[step.name] = step.state
                yield {"kind": "step", "step": step.model_dump(mode="json")}
            for piece in step.pieces:
                if piece.state == "Running" and piece.progress and self._far.get(piece.name) != piece.progress.at:
                    self._far[piece.name] = piece.progress.at
                    yield {"kind": "progress", "step": piece.name, "progress": piece.progress.model_dump(mode="json")}
        if self.state in ENDED:
            yield {"kind": "run", "record": self.record.model_dump(mode="json")}

    def cancel(self, timeout_s: float) -> str:
        """Asks for the end and waits until it is there.

        Returns:
            How the run really ended: Cancelled, or Succeeded or Failed where it was faster; Cancelling where it had
            not ended after `timeout_s` seconds.

        Raises:
            WorkflowGone: nothing of it runs, and Kubeflow will never hear so.
        """
        self.refresh()
        if self.state not in ENDED:
            try:
                self._api.terminate(self.key)
            except WorkflowGone as gone:
                raise self._gone() from gone
            except InvalidSpec:  # it ended in between: what it came to is told below
                self.refresh()
                if self.state not in (*ENDED, "Cancelling"):  # or an answer was lost, and the request had its effect
                    raise
        began = time.monotonic()
        while self._looked() not in ENDED:
            waited = time.monotonic() - began
            if waited >= min(timeout_s, SILENT_S) and not self._is_cancelled():
                raise self._gone()
            if waited >= timeout_s:
                break
            time.sleep(min(self.poll_s, 1.0))
        return self.state

    def _gone(self) -> WorkflowGone:
        url = self._api.settings.url
        return WorkflowGone(
            f"run {self.key}: nothing of it runs any more: its Workflow was deleted, with the recurring run that "
            f"started it or by hand, and Kubeflow will call the run {self._looked()} for ever; put it away: "
            f"kfp --endpoint {url} run archive {self.key}"
        )

    def _looked(self) -> str:
        self.refresh()
        return self.state

    def again(self, changes: Mapping[str, Any], *, is_retry: bool) -> KubeflowRun:
        """Kubeflow's own retry, or a clone."""
        if not is_retry:
            from shipway.remote.submit import prepare_clone, start

            return KubeflowRun(self._api, start(self._api, prepare_clone(self._api, self, changes))[0])
        try:
            self._api.retry(self.key)
        except LostAnswer:
            if self._looked() in ENDED:  # nothing was started: it is safe to ask again
                self._api.retry(self.key)
        self.refresh()
        self._seen = None
        return self

    def detail(self, step: str) -> str:
        """What its record says; Kubeflow's API tells nothing of a step in progress."""
        pieces = (piece for whole in self.record.steps for piece in whole.pieces)
        progress = next((piece.progress for piece in pieces if piece.name == step), None)
        return progress.text if progress is not None else ""

    def logs(self, steps: set[str]) -> tuple[dict[str, str], list[str]]:
        """What pods printed, without Kubeflow's own lines; a cached step's are another run's."""
        from shipway.remote.noise import own_words

        cached = {step.name: step.cached_from for step in self.record.steps if step.cached_from and step.name in steps}
        notes = [f"{name} came from the cache; its log is of run {run}" for name, run in cached.items()]
        texts, missing = self.pod_logs(steps - cached.keys()) if steps - cached.keys() else ({}, [])
        own = {name: "".join(own_words(text.splitlines(keepends=True))) for name, text in texts.items()}
        return own, notes + missing

    def pod_logs(self, steps: set[str]) -> tuple[dict[str, str], list[str]]:
        """All that the steps' pods printed, and a line for each log that cannot be read."""
        from shipway.remote.pods import pod_logs

        settings = self._api.settings
        return pod_logs(self.key, steps, namespace=settings.namespace or settings.install)
