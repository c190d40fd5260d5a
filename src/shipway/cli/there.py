"""Runs on Kubeflow, listed and read."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from shipway import redaction
from shipway.cli.console import MARKS, print_json, say, table
from shipway.remote.noise import own_words

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    from shipway.report.numbers import duration

    shown = [
        (
            row["run"][:8], row["name"], row["state"], row["started_at"].replace("T", " ")[:19],
            duration(row["seconds"]), row["started_by"],
            run.figures,
        )
        for run, row in zip(found, rows, strict=True)
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


def logs_there(
    kubeflow: Connection, key: str, step: str | None, *, follow: bool, tail: int, is_raw: bool = False
) -> None:
    """What the steps recorded, then what their pods printed, as far as either can be read from here."""
    from shipway.ending import ENDED
    from shipway.remote.pods import pod_logs

    run = kubeflow.run(key)
    while follow and run.state not in ENDED:
        time.sleep(_POLL_S)
        run.refresh()
    wanted = _wanted(run, step)
    for name, record in wanted.items():
        _print_record(name, record, with_heading=len(wanted) > 1)
    if run.note:
        say(f"Note: {run.note}", style="yellow")
    ran = {name for name, record in wanted.items() if not record.cached_from}
    if not ran:
        return
    printed, notes = pod_logs(run.key, ran, namespace=kubeflow.settings.namespace or kubeflow.settings.install)
    for name, text in printed.items():
        say(f"==> {name} (pod) <==", style="bold")
        lines = text.splitlines(keepends=True)
        lines = lines if is_raw else list(own_words(lines)) or ["(nothing of its own; --raw shows Kubeflow's lines)\n"]
        redaction.Stream(sys.stdout).writelines(lines[-tail:] if tail else lines)
    for note in notes:
        say(note, style="dim")


def _wanted(run: RemoteRun, step: str | None) -> dict[str, StepRecord]:
    """The step that a person names by its title, its task or its record's name; else the one that failed, else all."""
    steps = run.steps
    if step is not None:
        wholes = {piece.task: name for name, record in steps.items() for piece in (*record.parts, record)}
        titles = {piece.task: piece.title for record in steps.values() for piece in (record, *record.parts)}
        name = wholes[find_step(step, titles, f"run {run.key}")]
        return {name: steps[name]}
    failed = next((name for name, record in steps.items() if record.state == "Failed"), None)
    if failed is not None:
        return {failed: steps[failed]}
    return {name: record for name, record in steps.items() if record.state not in ("Pending", "Skipped")}


def find_step(wanted: str, titles: Mapping[str, str], where: str) -> str:
    """The task that a person means by its name, its display name, or the name that its launch calls itself.

    Args:
        wanted: As typed; capitals do not matter.
        titles: Task -> display name, empty where there is none.
        where: For the message.

    Raises:
        NotFound: no step is called so; names those there are, and the nearest.
    """
    from shipway.errors import NotFound, nearest
    from shipway.summary import names_of

    for task, title in titles.items():
        if wanted.lower() in (task.lower(), title.lower(), *names_of(task)):
            return task
    there = ", ".join(f"{task} ({title})" if title and title != task else task for task, title in titles.items())
    names = [*titles, *filter(None, titles.values())]
    raise NotFound(f"logs: {where} has no step {wanted!r}; there are {there or 'none'}{nearest(wanted, names)}")


def _print_record(name: str, record: StepRecord, *, with_heading: bool) -> None:
    if with_heading:
        say(f"==> {name} <==", style="bold")
    say(f"{record.title or name}: {record.state} after {record.seconds:.1f} s", style=MARKS.get(record.state, ""))
    if record.cached_from:
        say(f"From the cache: shipway logs {record.cached_from} {name} has what the pod printed that did the work.")
    for part in record.parts:
        say(f"  {part.title or part.task}: {part.state} after {part.seconds:.1f} s", style=MARKS.get(part.state, ""))
    if record.error is not None:
        say(f"error: {record.error.message}")
        if record.error.replica:
            say(f"First to fail: {record.error.replica} (exit code {record.error.exit_code})")
        for line in record.error.last_lines:
            say(f"  | {line}", style="dim")
    for key, value in record.outputs.items():
        say(f"  {key} = {value}", style="dim")
