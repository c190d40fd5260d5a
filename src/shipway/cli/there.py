"""Runs on Kubeflow, listed and read."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from shipway.cli.console import MARKS, print_json, say, table

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord
    from shipway.remote import Connection, RemoteRun

_POLL_S = 2.0


def list_there(kubeflow: Connection, limit: int, *, as_json: bool) -> None:
    """The newest runs: state, when, how long, who or what started them, what they measured."""
    found = kubeflow.runs(max(limit, 1)) if limit > 0 else []
    schedules = schedule_names(kubeflow, found)
    rows = [_row(run, schedules) for run in found]
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(f"No runs at {kubeflow.settings.url} yet. Next: shipway submit PIPELINE --param ...")
        return
    from shipway.report.numbers import duration, number

    shown = [
        (
            row["run"][:8], row["name"], row["state"], row["started_at"].replace("T", " ")[:19],
            duration(row["seconds"]), row["started_by"],
            ", ".join(f"{name} {number(value)}" for name, value in row["metrics"].items()),
        )
        for row in rows
    ]  # fmt: skip
    styles = [MARKS.get(row["state"]) if row["state"] != "Succeeded" else None for row in rows]
    table(
        ["run", "name", "state", "started (UTC)", "took", "started by", "metrics"], shown, right=["took"], styles=styles
    )
    say("Next: shipway runs show RUN", style="dim")


def _row(run: RemoteRun, schedules: dict[str, str]) -> dict[str, Any]:
    schedule = schedules.get(run.recurring_run_id, "deleted since")
    return {
        "run": run.key,
        "name": run.name,
        "state": run.state,
        "started_at": run.started_at.isoformat() if run.started_at else "",
        "seconds": round(run.seconds, 1),
        "started_by": f"schedule {schedule}" if run.recurring_run_id else run.started_by,
        "metrics": run.metrics,
    }


def schedule_names(kubeflow: Connection, runs: list[RemoteRun]) -> dict[str, str]:
    """Names of recurring runs by id, asked for only where one of the runs was started by one."""
    if not any(run.recurring_run_id for run in runs):
        return {}
    from shipway.remote.marks import read_mark

    return {
        str(job.recurring_run_id): str(read_mark(job).get("name") or job.display_name)
        for job in kubeflow.api.recurring()
    }


def logs_there(kubeflow: Connection, key: str, step: str | None, *, follow: bool, tail: int) -> None:
    """What the steps recorded, then what their pods printed, as far as either can be read from here."""
    from shipway.errors import NotFound, nearest
    from shipway.remote.pods import pod_logs
    from shipway.remote.runs import ENDED

    run = kubeflow.run(key)
    while follow and run.state not in ENDED:
        time.sleep(_POLL_S)
        run.refresh()
    steps = run.steps
    if step is not None and step not in steps:
        raise NotFound(f"logs: run {run.key} has no step {step!r}; there are {', '.join(steps)}{nearest(step, steps)}")
    wanted = {step: steps[step]} if step else steps
    for name, record in wanted.items():
        _print_record(name, record, with_heading=len(wanted) > 1)
    if run.note:
        say(f"Note: {run.note}", style="yellow")
    printed, notes = pod_logs(run.key, set(wanted), namespace=kubeflow.settings.namespace or kubeflow.settings.install)
    for name, text in printed.items():
        say(f"==> {name} (pod) <==", style="bold")
        lines = text.splitlines(keepends=True)
        sys.stdout.writelines(lines[-tail:] if tail else lines)
    for note in notes:
        say(note, style="dim")


def _print_record(name: str, record: StepRecord, *, with_heading: bool) -> None:
    if with_heading:
        say(f"==> {name} <==", style="bold")
    say(f"{record.title or name}: {record.state} after {record.seconds:.1f} s", style=MARKS.get(record.state, ""))
    if record.error is not None:
        say(f"error: {record.error.message}")
        if record.error.replica:
            say(f"First to fail: {record.error.replica} (exit code {record.error.exit_code})")
        for line in record.error.last_lines:
            say(f"  | {line}", style="dim")
    for key, value in record.outputs.items():
        say(f"  {key} = {value}", style="dim")
