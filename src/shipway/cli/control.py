"""`watch`, `cancel`, `retry`, `clone`, `artifacts`: what one does with a run, wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say, table
from shipway.cli.options import Key, Kfp, Local, Params, ParamsFile

if TYPE_CHECKING:
    from shipway.runs.here import Here

Watch = Annotated[
    bool, typer.Option("--watch", help="Follow the run to its end; one of this machine is followed anyway.")
]


def watch(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """Follow a run to its end; it ends with the run's exit code."""
    from shipway.cli.following import follow
    from shipway.runs import load_run

    handle = load_run(run, here=local, kfp=kfp)
    follow(handle, titles=handle.titles, as_json=as_json)


def cancel(run: Key, kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """Stop a run, wait for its end, and say how it really ended."""
    from shipway.ending import ENDED
    from shipway.runs import load_run

    handle = load_run(run, here=local, kfp=kfp)
    before, state = handle.state, handle.cancel()
    name = handle.key if handle.is_here else handle.name
    if as_json:
        print_json({"run": handle.key, "state": state, "was_over": before == state})
        if state not in ENDED:
            raise typer.Exit(1)
    elif before == state:
        say(f"Run {name} was over already: {state}.")
    elif state == "Cancelled":
        say(f"Run {name} is stopped.")
    elif state == "Cancelling":
        say(f"Run {name} has been told to stop and has not ended yet. Next: shipway watch {handle.key}")
        raise typer.Exit(1)
    else:
        say(f"Run {name} was faster than the cancellation: {state}.")


def retry(run: Key, kfp: Kfp = None, local: Local = False, watch: Watch = False, as_json: AsJson = False) -> None:
    """Go on with a failed or stopped run; what succeeded stays."""
    from shipway.cli.following import after_start
    from shipway.runs import load_run

    retried = load_run(run, here=local, kfp=kfp).retry()
    after_start(retried, retried.titles, watch=watch or retried.is_here, as_json=as_json)


def clone(
    run: Key,
    param: Params = None,
    params_file: ParamsFile = None,
    kfp: Kfp = None,
    local: Local = False,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Run the same version again, with the same parameters but those given here."""
    from shipway.cli.arguments import collect_params
    from shipway.runs import load_run
    from shipway.runs.here import Here

    changes = collect_params(param or [], params_file)
    original = load_run(run, here=local, kfp=kfp)
    if isinstance(original.backend, Here):
        _play_again(original.backend, changes, as_json=as_json)
    from shipway.cli.following import after_start
    from shipway.cli.kubeflow import show_submission
    from shipway.remote.where import connected

    kubeflow = connected(kfp)
    assert kubeflow is not None, "the run is Kubeflow's"
    submission = kubeflow.prepare_clone(original, changes)
    if not as_json:
        show_submission(kubeflow, submission)
        say()
    after_start(kubeflow.start(submission), submission.tasks, watch=watch, as_json=as_json)


def _play_again(run: Here, changes: dict[str, Any], *, as_json: bool) -> None:
    """The command that started a run, typed again with changes: another run."""
    from shipway.cli.running import play

    request = run.folder.request()
    params = {**run.given(), **changes}
    play(request.pipeline_name or request.pipeline, params, fresh=False, dry_run=False, as_json=as_json)


def artifacts(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """What a run's steps made: names, URIs, reports."""
    from shipway.runs import load_run

    handle = load_run(run, here=local, kfp=kfp)
    rows = [row for step in handle.steps.values() for piece in step.pieces for row in _made(piece)]
    if as_json:
        print_json([{"step": step, "name": name, "uri": uri} for step, name, uri in rows])
        return
    if not rows:
        say(f"No step left a record of what it made{'' if handle.is_here else _why_none(handle.note)}.")
        return
    table(["step", "artifact", "uri"], rows)


def _made(step: Any) -> list[tuple[str, str, str]]:
    """(step, name, URI) of what the step's record names."""
    named = [(step.name, name, value) for name, value in step.outputs.items() if "://" in str(value)]
    return [*named, *((step.name, f"report: {title}", uri) for title, uri in step.reports.items())]


def _why_none(note: str) -> str:
    from shipway.remote.records import missing_store

    why = note or missing_store()
    return (f"; {why}" if why else "") + ". Kubeflow's own API (v2beta1) lists no artifacts"
