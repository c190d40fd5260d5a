"""How a recurring run goes: disabled, then deleted without the runs that it started.

In Kubernetes a run's Workflow belongs to what started it. A deletion that says nothing collects a Workflow in progress
with its pods and logs, and Kubeflow calls that run RUNNING for ever. Told to leave them alone (since 2.16), it lets the
run go on to its end, and it can be watched and cancelled as before. An older Kubeflow does not heed that: there a
recurring run stays, disabled, until its runs have ended, and whoever looks at the schedule next deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shipway.errors import KubeflowError, NotFound
from shipway.remote.api import Api
from shipway.remote.kubeflow_run import KubeflowRun
from shipway.remote.recurring import window_of
from shipway.remote.refused import WorkflowGone

ALIVE = ("PENDING", "RUNNING", "CANCELING", "PAUSED")
CANCEL_S = 120.0
MOST = 100  # of one recurring run; Kubeflow starts ten at the same time, those of a slot behind it may be waiting


@dataclass(frozen=True)
class Running:
    """A run that goes on."""

    run: str
    name: str
    state: str


def running_of(api: Api, jobs: Iterable[Any]) -> list[Running]:
    """Their runs that have not ended; one question to Kubeflow for each recurring run that may have started any."""
    return [
        Running(str(run.run_id), str(run.display_name), str(run.state))
        for job in jobs
        if _may_have_run(job)
        for run in api.runs_of(str(job.recurring_run_id), MOST, ALIVE)
    ]


def _may_have_run(job: Any) -> bool:
    start = window_of(job)[0]
    return start is None or start <= datetime.now(UTC)


def set_enabled(api: Api, jobs: Iterable[Any], *, enabled: bool) -> None:
    """Enables or disables recurring runs."""
    for job in jobs:
        end = window_of(job)[1]
        if enabled and job.no_catchup and end and end <= datetime.now(UTC):
            continue  # it would start a run at once, for its last slot
        if (job.status == "ENABLED") is not enabled:
            try:
                api.set_recurring(job.recurring_run_id, enabled=enabled)
            except NotFound:  # whoever made the same at the same moment has settled it already
                continue
            job.status = "ENABLED" if enabled else "DISABLED"


def retire(api: Api, jobs: Iterable[Any]) -> list[Any]:
    """Disables and deletes them; those stay that an old Kubeflow would not delete without their runs.

    Disabled first: a recurring run that is being deleted may fire once more, and what it starts then in a Kubeflow that
    heeds nothing dies with it. Runs are looked for after that, since one may have started a moment before.
    """
    jobs = list(jobs)
    set_enabled(api, jobs, enabled=False)
    kept = []
    for job in jobs:
        if api.leaves_runs or not running_of(api, [job]):
            api.delete_recurring(job.recurring_run_id)
        else:
            kept.append(job)
    return kept


def cancel_running(api: Api, jobs: Iterable[Any]) -> None:
    """Cancels their runs until none is left; the recurring runs are disabled already.

    Raises:
        KubeflowError: one does not end.
    """
    jobs, gone = list(jobs), set[str]()
    while running := [run for run in running_of(api, jobs) if run.run not in gone]:
        for run in running:
            try:
                state = KubeflowRun(api, api.run(run.run)).cancel(CANCEL_S)
            except WorkflowGone:  # nothing of it runs, and no cancel will ever change what Kubeflow says of it
                gone.add(run.run)
                continue
            if state == "Cancelling":
                raise KubeflowError(
                    f"run {run.run} ({run.name}) has been told to stop and has not ended yet; the schedule is paused, "
                    f"not deleted: type the command again"
                )


def kept_for(api: Api, jobs: Iterable[Any], what: str) -> KubeflowError:
    """Why recurring runs are still there, and what to do."""
    running = running_of(api, jobs)
    names = ", ".join(f"{run.run} ({run.name})" for run in running) or "one that has ended just now"
    return KubeflowError(
        f"{what}: this Kubeflow (before 2.16) would kill its run in progress with it: {names}; type the command again "
        f"when it has ended, or cancel it: shipway cancel {running[0].run if running else 'RUN'}"
    )
