"""Runs on Kubeflow, listed and read."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from shipway import redaction
from shipway.cli.console import MARKS, print_json, say, table
from shipway.remote.noise import own_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    from shipway.pages.numbers import duration

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
    """The steps that a person means; else the one that failed, else all."""
    steps = run.steps
    if step is not None:
        called = {name: called_by(record) for name, record in steps.items()}
        return {name: steps[name] for name in find_steps(step, called, f"run {run.key}")}
    failed = next((name for name, record in steps.items() if record.state == "Failed"), None)
    if failed is not None:
        return {failed: steps[failed]}
    return {name: record for name, record in steps.items() if record.state not in ("Pending", "Skipped")}


def called_by(step: StepRecord) -> list[str]:
    """What a person may call a step, its label first; a part of it is seen with it."""
    words = [(piece.label, piece.name, piece.title, piece.task, piece.role) for piece in (step, *step.parts)]
    return [word for piece in words for word in piece if word]


def find_steps(wanted: str, called: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """The step of that name, else all that are called so: iterations of one task, steps of one role.

    Args:
        wanted: As typed; capitals do not matter.
        called: Step's name -> what it may be called, what screens call it first.
        where: For the message.

    Raises:
        NotFound: no step is called so; names those there are, and the nearest.
    """
    from shipway.errors import NotFound, nearest

    if wanted in called:
        return [wanted]
    found = [name for name, words in called.items() if wanted.lower() in [word.lower() for word in words]]
    if found:
        return found
    there = ", ".join(f"{name} ({words[0]})" if words[0] != name else name for name, words in called.items())
    names = [*called, *(word for words in called.values() for word in words)]
    raise NotFound(f"logs: {where} has no step {wanted!r}; there are {there or 'none'}{nearest(wanted, names)}")


def _print_record(name: str, record: StepRecord, *, with_heading: bool) -> None:
    if with_heading:
        say(f"==> {name} <==", style="bold")
    say(f"{record.label}: {record.state} after {record.seconds:.1f} s", style=MARKS.get(record.state, ""))
    if record.cached_from:
        say(f"From the cache: shipway logs {record.cached_from} {name} has what the pod printed that did the work.")
    for part in record.parts:
        say(f"  {part.label}: {part.state} after {part.seconds:.1f} s", style=MARKS.get(part.state, ""))
    if record.error is not None:
        say(f"error: {record.error.message}")
        if record.error.replica:
            say(f"First to fail: {record.error.replica} (exit code {record.error.exit_code})")
        for line in record.error.last_lines:
            say(f"  | {line}", style="dim")
    for key, value in record.outputs.items():
        say(f"  {key} = {value}", style="dim")


def follow(run: RemoteRun, tasks: dict[str, str], *, as_json: bool) -> NoReturn:
    """Follows a cluster's run; Ctrl-C ends the watching, not the run."""
    from shipway.cli.progress import Progress
    from shipway.errors import Cancelled
    from shipway.remote.summary import summarise
    from shipway.summary import exit_code

    try:
        if as_json:
            run.wait()
        else:
            say(f"Run {run.key} ({run.name})", style="dim")
            with Progress(tasks) as progress:
                run.wait(progress)
    except KeyboardInterrupt:
        say(f"Not watched any more; the run goes on. Next: shipway watch {run.key}, or shipway cancel {run.key}")
        raise typer.Exit(Cancelled.exit_code) from None
    summary = summarise(run)
    show_summary(summary, as_json=as_json)
    raise typer.Exit(exit_code(summary))


def show_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    """The closing screen, or its document."""
    if as_json:
        print_json(summary)
        return
    from shipway.cli.screens import closing_screen

    closing_screen(summary)
