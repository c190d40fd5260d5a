"""`job run manifest.yaml`: any manifest, through the executor that pipelines use."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, console, print_json, say, table

if TYPE_CHECKING:
    from shipway.executors import Event, Handle, Outcome

app = typer.Typer(help="Jobs from manifests.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def run(
    manifest: Annotated[
        Path, typer.Argument(help="YAML of a TFJob, MPIJob, batch Job, InferenceService or Katib Experiment.")
    ],
    deadline: Annotated[float | None, typer.Option(help="Seconds until the job is ended as failed.")] = None,
    retries: Annotated[int, typer.Option(min=0, help="New attempts after a failure.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run a manifest here as a cluster would; typed again, it is adopted."""
    from shipway.cli.screens import error_line
    from shipway.errors import InvalidSpec
    from shipway.executors import current, play, read_manifest
    from shipway.local.store import prepare_store
    from shipway.pages.numbers import duration

    if deadline is not None and not 0 < deadline < math.inf:
        raise InvalidSpec(f"got {deadline:g}, expected seconds above 0, or leave it out", field="--deadline")
    document = read_manifest(manifest)
    executor = current()
    prepare_store()
    attempts: list[Handle] = []

    def started(handle: Handle) -> None:
        attempts.append(handle)
        if not as_json:
            say(f"{'Following' if handle.adopted else 'Started'} {handle.kind} {handle.name}")

    on_event = None if as_json else _tell
    try:
        handle, outcome = play(
            executor, document, backoff_limit=retries, on_event=on_event, deadline_s=deadline, on_start=started
        )
    except KeyboardInterrupt:
        for handle in attempts[-1:]:
            executor.cancel(handle)
        raise
    if as_json:
        known = {"kind": handle.kind, "name": handle.name, "adopted": handle.adopted, **vars(outcome)}
        print_json({**known, "error": _error(outcome, handle)})
    else:
        say(f"{handle.kind} {handle.name}: {outcome.state} after {duration(outcome.seconds)}")
        if outcome.url:
            say(f"It answers at {outcome.url}")
        if handle.kind != "InferenceService":
            say(f"Logs: {_logs(handle)}", style="dim")
        if outcome.first_failure:
            failure = outcome.first_failure
            table(["first to fail", "exit code", "reason"], [(failure.replica, failure.exit_code, failure.reason)])
            for line in failure.last_lines[-20:]:
                say(f"  | {line}", style="dim")
    if error := _error(outcome, handle):
        from shipway.errors import exit_code_of

        print(error_line(error), file=sys.stderr)
        raise typer.Exit(exit_code_of(error["kind"]))


def _logs(handle: Handle) -> str:
    """Where what its replicas printed can be read: the folder here, the command there."""
    from shipway.context import Context

    context = Context.current()
    if context.executor == "process":
        return str(context.home / "jobs" / handle.name / "replicas")
    from shipway.executors.kubernetes.rendering import JOB

    return f"kubectl logs -n {handle.namespace} -l {JOB}={handle.name} --all-containers --prefix --tail=-1"


def _error(outcome: Outcome, handle: Handle) -> dict[str, Any] | None:
    """Why the job failed, as `run --json` says it of a step; None where it did not."""
    from shipway.errors import JobFailed, ShipwayError, one_line
    from shipway.executors import raise_for

    try:
        raise_for(outcome, handle)
    except ShipwayError as error:
        message = one_line(error)
        told: dict[str, Any] = {"step": None, "kind": type(error).__name__, "message": message}
        if isinstance(error, JobFailed):
            told |= {"replica": error.replica, "exit_code": error.replica_exit_code, "last_lines": error.last_lines}
        return told
    return None


def _tell(event: Event) -> None:
    console(stderr=True).print(f"{event.kind}: {event.message}", markup=False, style="dim")
