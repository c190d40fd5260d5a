"""`run`: plan, progress, what came out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say
from shipway.cli.options import DryRun, Fresh, Params, ParamsFile
from shipway.cli.place import Kfp, connection, is_there

if TYPE_CHECKING:
    from shipway.cli.planning import RunPlan
    from shipway.local.prepared import Prepared
    from shipway.runs import Run


def run(
    pipeline: Annotated[str, typer.Argument(help="A pipeline, file.py:function or package.module:function.")],
    local: Annotated[bool, typer.Option("--local", help="Run on this machine.")] = False,
    kfp: Kfp = None,
    param: Params = None,
    params_file: ParamsFile = None,
    preset: Annotated[str | None, typer.Option(help="A preset of the pipeline (shipway describe PIPELINE).")] = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline, here or on Kubeflow, and follow it; here, typed again, it goes on."""
    from shipway.cli.arguments import collect_params
    from shipway.errors import InvalidSpec

    params = collect_params(param or [], params_file, preset)
    if is_there(kfp, local):
        from shipway.cli.kubeflow import send

        send(connection(kfp), pipeline, params, watch=True, dry_run=dry_run, as_json=as_json)
        return
    if not local:
        raise InvalidSpec(
            f"run: say where: `shipway run {pipeline} --local ...` runs on this machine, "
            f"`shipway run {pipeline} --kfp URL ...` on Kubeflow"
        )
    play(pipeline, params, fresh=fresh, dry_run=dry_run, as_json=as_json)


def play(pipeline: str, params: dict[str, Any], *, fresh: bool, dry_run: bool, as_json: bool) -> None:
    """Plans, runs, and ends the command with the run's exit code."""
    from shipway.cli.planning import make_run_plan, show_plan
    from shipway.context import Context
    from shipway.executors import current
    from shipway.local.hosting import prepare_host
    from shipway.local.prepared import prepare

    current()  # an unknown executor is refused before anything else
    if not dry_run:
        prepare_host(Context.current().home)
    prepared = prepare(pipeline, params)
    plan = make_run_plan(prepared, with_key=dry_run)
    if dry_run:
        _show_dry_run(plan, as_json)
        return
    if prepared.configuration is not None:
        prepared.configuration.plan.check_here(prepared.configuration.specs)
    if not as_json:
        show_plan(plan)
        say()
    finished = _follow(plan, prepared, fresh=fresh, quiet=as_json)
    from shipway.summary import exit_code, summarise

    summary = summarise(finished)
    from shipway.cli.screens import closing_screen, error_line

    if not as_json:
        closing_screen(summary)
    else:
        print_json(summary)
        if summary["error"]:
            print(error_line(summary["error"]), file=sys.stderr)
    raise typer.Exit(exit_code(summary))


def _show_dry_run(plan: RunPlan, as_json: bool) -> None:
    from shipway.cli.planning import show_plan

    if as_json:
        print_json(plan)
        return
    show_plan(plan)
    say()
    say("Nothing was started (--dry-run).", style="dim")


def _follow(plan: RunPlan, prepared: Prepared, *, fresh: bool, quiet: bool) -> Run:
    """Starts the run and follows it; Ctrl-C stops it and says how to go on."""
    from shipway.cli.progress import Progress
    from shipway.cli.watching import step_detail
    from shipway.runs import start

    started = start(prepared, fresh=fresh)
    if quiet:
        return _until_stopped(started, None)
    say(f"Run {started.key}; log {started.folder.path}", style="dim")
    titles = {step.task: step.title for step in plan.steps}
    configuration = prepared.configuration
    trials = configuration.plan.trials(configuration.specs) if configuration else None
    rooms = {step.task: step.room for step in plan.steps}
    with Progress(titles, step_detail(started.home, started.key, rooms, trials)) as progress:
        return _until_stopped(started, progress)


def _until_stopped(run: Run, on_event: Any) -> Run:
    import signal
    from contextlib import suppress

    from shipway.errors import Cancelled, JobFailed

    def stop(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return run.wait(on_event)
    except KeyboardInterrupt:
        if not run.is_ours:
            say(f"Not followed any more; run {run.key} goes on where it was started.")
            raise typer.Exit(Cancelled.exit_code) from None
        run.stop()
        with suppress(JobFailed):  # a host that had to be killed says no last word
            run.wait()
        if run.record is None:
            run.state = "Cancelled"
        return run
    finally:
        signal.signal(signal.SIGTERM, before)
