"""What a cluster's run came to, as the same document that a local run gives."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shipway.artifacts import StepError
from shipway.ending import ENDED
from shipway.errors import ShipwayError
from shipway.remote import records
from shipway.remote.runs import RemoteRun

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord


def summarise(run: RemoteRun) -> dict[str, Any]:
    """The document of `shipway.summary`, with the run's name, state, starter and address in Kubeflow beside it.

    The state is Kubeflow's; what the steps found comes from their records, as far as a store is named and answers
    (`note` says why where it does not).
    """
    from shipway.artifacts import RunRecord
    from shipway.summary import build_summary

    steps = list(run.steps.values())
    store = kept = None
    if not run.note:
        with suppress(ShipwayError):
            store = records.cluster_store()
            kept = records.read_run(run.key, store)
    state = run.state if run.state in ENDED else "Running"
    record = RunRecord(
        run=run.key,
        pipeline=kept.pipeline if kept else run.name,
        name=kept.name if kept else str(run.params.get("name", "")),
        state=state,
        started_at=run.started_at.isoformat() if run.started_at else "",
        seconds=round(run.seconds, 1),
        params=run.params,
        steps=steps,
        error=_error(run, steps),
    )
    where = {
        "kfp_name": run.name,
        "kfp_state": run.state,
        "started_by": run.started_by,
        "url": run.url,
        "note": run.note,
    }
    return {**build_summary(record, store=store.uri if store else ""), **where}


def _error(run: RemoteRun, steps: list[StepRecord]) -> StepError | None:
    if run.stop == "deadline":
        return StepError(kind="Deadline", message=f"past the run's deadline of {run.deadline_s} s")
    drivers = run.failed_drivers
    if drivers and run.state == "Failed" and not any(step.state == "Failed" for step in steps):
        logs = f"kubectl logs -l pipeline/runid={run.key} -c main, in the run's namespace"
        return StepError(kind="Driver", message=f"Kubeflow's own {drivers[0]} failed, before any step could: {logs}")
    return next((step.error for step in steps if step.error is not None), None)
