"""`watch`, `cancel`, `retry`, `clone`, `artifacts`: what one does with a run, wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say, table
from shipway.cli.options import Params, ParamsFile
from shipway.cli.place import Kfp, Local, connection, is_there

if TYPE_CHECKING:
    from shipway.remote import RemoteRun
    from shipway.runs import Run

Key = Annotated[str, typer.Argument(help="A run's key or its beginning; `last` for the newest.")]


def watch(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """Follow a run to its end; it ends with the run's exit code."""
    if is_there(kfp, local):
        from shipway.cli.there import follow

        found = connection(kfp).run(run)
        follow(found, found.titles, as_json=as_json)
    from shipway.cli.here import watch_here

    watch_here(run, as_json=as_json)


def cancel(run: Key, kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """Stop a run, wait for its end, and say how it really ended."""
    from shipway.ending import ENDED

    if is_there(kfp, local):
        found = connection(kfp).run(run)
        before, state = found.state, found.cancel()
        key, name = found.key, found.name
        was_over = before == state
    else:
        from shipway.cli.here import cancel_here

        key, state, was_over = cancel_here(run)
        name = key
    if as_json:
        print_json({"run": key, "state": state, "was_over": was_over})
        if state not in ENDED:
            raise typer.Exit(1)
    elif was_over:
        say(f"Run {name} was over already: {state}.")
    elif state == "Cancelled":
        say(f"Run {name} is stopped.")
    elif state == "Cancelling":
        say(f"Run {name} has been told to stop and has not ended yet. Next: shipway watch {key}")
        raise typer.Exit(1)
    else:
        say(f"Run {name} was faster than the cancellation: {state}.")


def retry(
    run: Key,
    kfp: Kfp = None,
    local: Local = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a failed or stopped run; what succeeded stays."""
    if not is_there(kfp, local):
        from shipway.cli.here import play_again

        play_again(run, {}, as_json=as_json)
        return
    from shipway.cli.kubeflow import after_start

    kubeflow = connection(kfp)
    found = kubeflow.run(run).retry()
    after_start(found, found.titles, watch=watch, as_json=as_json)


def clone(
    run: Key,
    param: Params = None,
    params_file: ParamsFile = None,
    kfp: Kfp = None,
    local: Local = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the same version again, with the same parameters but those given here."""
    from shipway.cli.arguments import collect_params

    changes = collect_params(param or [], params_file)
    if not is_there(kfp, local):
        from shipway.cli.here import play_again

        play_again(run, changes, as_json=as_json)
        return
    from shipway.cli.kubeflow import after_start, show_submission

    kubeflow = connection(kfp)
    submission = kubeflow.prepare_clone(kubeflow.run(run), changes)
    if not as_json:
        show_submission(kubeflow, submission)
        say()
    after_start(kubeflow.start(submission), submission.tasks, watch=watch, as_json=as_json)


def artifacts(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """What a run's steps made: names, URIs, reports."""
    from shipway.cli.runs import load

    found = load(run, kfp, local)
    rows = [row for step in found.steps.values() for piece in step.pieces for row in _made(piece)]
    if as_json:
        print_json([{"step": step, "name": name, "uri": uri} for step, name, uri in rows])
        return
    if not rows:
        say(f"No step left a record of what it made{_why_none(found)}.")
        return
    table(["step", "artifact", "uri"], rows)


def _made(step: Any) -> list[tuple[str, str, str]]:
    """(step, name, URI) of what the step's record names."""
    named = [(step.name, name, value) for name, value in step.outputs.items() if "://" in str(value)]
    return [*named, *((step.name, f"report: {title}", uri) for title, uri in step.reports.items())]


def _why_none(run: Run | RemoteRun) -> str:
    from shipway.runs import Run as RunHere

    if isinstance(run, RunHere):
        return ""
    from shipway.remote.records import missing_store

    why = run.note or missing_store()
    return (f"; {why}" if why else "") + ". Kubeflow's own API (v2beta1) lists no artifacts"
