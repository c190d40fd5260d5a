"""One run on a cluster: the same questions that a local run answers."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shipway.dag import own_name, titles_of
from shipway.ending import ENDED, Sources, Stop, state_of
from shipway.errors import InvalidSpec, JobFailed, KubeflowUnavailable, NotFound, nearest
from shipway.remote import records
from shipway.remote.api import Api
from shipway.remote.content import deadline_of, spec_of
from shipway.remote.refused import WorkflowGone
from shipway.remote.tasks import Node, moment, nodes_of, plain_names, read_tasks

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord

OnEvent = Callable[[dict[str, Any]], None]
POLL_S = 2.0
CANCEL_S = 120.0
SILENT_S = 60.0  # a Workflow that is there is reported as being cancelled within seconds
SUBMITTED = "Submitted with Shipway by "
METRICS = 2  # of an evaluation, in the lines of a list


class RemoteRun:
    """A run in Kubeflow.

    Attributes:
        key: Its id.
        note: Why the records of its steps could not be read when they were last asked for; empty where they could.
    """

    def __init__(self, api: Api, run: Any, *, poll_s: float | None = None) -> None:
        self._api = api
        self._run = run
        self._poll_s = POLL_S if poll_s is None else poll_s
        self._spec: dict[str, Any] | None = None
        self._noted: str | None = None  # what the run's last step wrote of its end, once it was asked for
        self.key = str(run.run_id)
        self.note = ""

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
        """The parameters it was given."""
        config = self._run.runtime_config
        return dict((config and config.parameters) or {})

    @property
    def started_at(self) -> datetime | None:
        """When it was created."""
        return moment(self._run.created_at)

    @property
    def seconds(self) -> float:
        """From its creation to its end, or to now."""
        began, ended = self.started_at, moment(self._run.finished_at)
        if began is None:
            return 0.0
        return max(0.0, ((ended or datetime.now(UTC)) - began).total_seconds())

    @property
    def started_by(self) -> str:
        """The person who submitted it, `schedule` for a recurring run, else the UI or another client."""
        description = str(self._run.description or "")
        if self._run.recurring_run_id:
            return "schedule"
        return description.removeprefix(SUBMITTED) if description.startswith(SUBMITTED) else "the UI or another client"

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
    def steps(self) -> dict[str, StepRecord]:
        """Its steps by name, in the pipeline's order: Kubeflow's states, with what their records say (`note`: or why
        these cannot be read)."""
        state, nodes = self.state, self._nodes()
        titles = self.titles or dict.fromkeys(plain_names(nodes), "")
        seen = read_tasks(nodes, titles, run=self.key, run_state=state)
        cached = [task for task in titles if any(node.state == "Cached" for node in seen[own_name(task)])]
        found, self.note = records.try_steps(self.key, cached)
        is_all = not self.note and records.cluster_store() is not None
        return records.merge(titles, seen, found, run=self.key, run_state=state, stop=self.stop, is_all=is_all)

    @property
    def failed_drivers(self) -> list[str]:
        """Pods of Kubeflow's own that failed before the step or DAG that they were to start."""
        return [node.name for node in self._nodes() if node.state == "Failed" and node.name.endswith("-driver")]

    def _nodes(self) -> list[Node]:
        return nodes_of(self._run.run_details and self._run.run_details.task_details, self._began())

    @property
    def metrics(self) -> dict[str, float]:
        """What the evaluations measured first, named by the split that it was measured on: `test_accuracy`.

        Of several on one split it is the weightiest's (`shipway.summary.of_role`).
        """
        return {name: value for name, (value, _) in self._measured().items()}

    @property
    def figures(self) -> str:
        """The same for a person: `test accuracy 93.4 %, test macro f1 91.0 %`."""
        from shipway.pages.numbers import figure

        told = self._measured().items()
        return ", ".join(f"{name.replace('_', ' ')} {figure(value, share)}" for name, (value, share) in told)

    def _measured(self) -> dict[str, tuple[float, bool]]:
        """By name: the value, and whether it is a share."""
        from shipway.summary import of_role

        found: dict[str, tuple[float, bool]] = {}
        for step in of_role(self.steps.values(), "evaluate"):
            measured, split, shown = (step.outputs.get(key) for key in ("metrics", "split", "shown"))
            if isinstance(measured, dict) and isinstance(shown, list) and split:
                for info in shown[:METRICS]:
                    found[f"{split}_{info['name']}"] = float(measured[info["name"]]), bool(info["is_share"])
        return found

    # What one does with it

    def refresh(self) -> RemoteRun:
        """Asks Kubeflow how it is now."""
        self._run, self._noted = self._api.run(self.key), None
        return self

    def _look_again(self) -> None:
        """`refresh`, for whoever follows the run: that nobody answers here stops nothing there."""
        try:
            self.refresh()
        except KubeflowUnavailable as error:
            raise KubeflowUnavailable(
                f"{error}; run {self.key} goes on without being watched: shipway watch {self.key} follows it again"
            ) from error

    def events(self) -> Iterator[dict[str, Any]]:
        """`state` and `step` events until the run ends, each change once."""
        state, seen = "", dict[str, str]()
        while True:
            if self.state != state:
                state = self.state
                yield {"kind": "state", "state": state}
            for task, step in self.steps.items():
                if step.state != "Pending" and seen.get(task) != step.state:
                    seen[task] = step.state
                    yield {"kind": "step", "step": step.model_dump(mode="json")}
            if state in ENDED:
                return
            time.sleep(self._poll_s)
            self._look_again()

    def wait(self, on_event: OnEvent | None = None, *, timeout_s: float | None = None) -> RemoteRun:
        """Waits for the end; failing is told by `state`, not by an exception.

        Raises:
            JobFailed: it did not end within `timeout_s`; it goes on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for event in self._until(deadline):
            if on_event is not None:
                on_event(event)
        return self

    def _until(self, deadline: float | None) -> Iterator[dict[str, Any]]:
        if deadline is None:
            yield from self.events()
            return
        while self.state not in ENDED:
            if time.monotonic() >= deadline:
                raise JobFailed(f"run {self.key} is still {self.state}; it goes on: shipway watch {self.key}")
            time.sleep(min(self._poll_s, max(0.0, deadline - time.monotonic())))
            self._look_again()
            yield {"kind": "state", "state": self.state}

    def cancel(self, timeout_s: float = CANCEL_S) -> str:
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
        while self.refresh().state not in ENDED:
            waited = time.monotonic() - began
            if waited >= min(timeout_s, SILENT_S) and not self._is_cancelled():
                raise self._gone()
            if waited >= timeout_s:
                break
            time.sleep(min(self._poll_s, 1.0))
        return self.state

    def _gone(self) -> WorkflowGone:
        url = self._api.settings.url
        return WorkflowGone(
            f"run {self.key}: nothing of it runs any more: its Workflow was deleted, with the recurring run that "
            f"started it or by hand, and Kubeflow will call the run {self.refresh().state} for ever; put it away: "
            f"kfp --endpoint {url} run archive {self.key}"
        )

    def retry(self) -> RemoteRun:
        """Starts what failed again; what succeeded stays.

        Raises:
            InvalidSpec: it has not failed.
        """
        self.refresh()
        if self.state not in ("Failed", "Cancelled"):
            raise InvalidSpec(f"retry: run {self.key} is {self.state}; only a failed or cancelled run can be retried")
        from shipway.errors import LostAnswer

        try:
            self._api.retry(self.key)
        except LostAnswer:
            if self.refresh().state in ENDED:  # nothing was started: it is safe to ask again
                self._api.retry(self.key)
        return self.refresh()

    def raise_for_state(self) -> RemoteRun:
        """Raises JobFailed with the first error unless the run succeeded or still runs."""
        if self.state in ("Failed", "Cancelled"):
            failed = next((step for step in self.steps.values() if step.error is not None), None)
            none = self.note or "no step left a record"
            said = f"{failed.name}: {failed.error.message}" if failed and failed.error else none
            raise JobFailed(f"run {self.key} {self.state}: {said}")
        return self

    def report(self, title: str | None = None) -> str:
        """HTML of a step's report by title, the newest when none is named.

        Raises:
            NotFound: no such report; names those there are.
        """
        from shipway.storage import open_uri
        from shipway.summary import reports_of

        found = {name: uri for name, (_, uri) in reports_of(self.steps.values()).items()}
        title = title or next(reversed(found), None)
        if title is None or title not in found:
            missing = f"; {self.note or records.missing_store()}".rstrip("; ")
            raise NotFound(
                f"report: no report {title!r} of run {self.key}; there are {', '.join(found) or 'none'}{missing}"
                f"{nearest(title or '', found)}"
            )
        store, key = open_uri(found[title])
        return store.get(key).decode()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(step.label)}</td><td>{html.escape(step.state)}</td>"
            f"<td>{step.seconds:.1f} s</td></tr>"
            for step in self.steps.values()
        )
        name = html.escape(self.name)
        link = f'<a href="{html.escape(self.url)}" target="_blank">{name}</a>' if self.url else name
        return (
            f"<b>{link}</b> ({self.key}): {self.state} after {self.seconds:.0f} s"
            f"<table><tr><th>step<th>state<th>seconds</tr>{rows}</table>"
        )

    def __repr__(self) -> str:
        return f"RemoteRun({self.name!r}, key={self.key!r}, state={self.state!r})"
