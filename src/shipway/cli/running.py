"""`run`: plan, progress, what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say
from shipway.cli.options import DryRun, EventKey, Fresh, Kfp, Params, ParamsFile, StartedBy

if TYPE_CHECKING:
    from shipway.cli.planning import RunPlan


def run(
    pipeline: Annotated[str, typer.Argument(help="A pipeline, file.py:function or package.module:function.")],
    local: Annotated[bool, typer.Option("--local", help="Run on this machine.")] = False,
    kfp: Kfp = None,
    param: Params = None,
    params_file: ParamsFile = None,
    preset: Annotated[str | None, typer.Option(help="A preset of the pipeline (shipway describe PIPELINE).")] = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    started_by: StartedBy = None,
    key: EventKey = "",
    as_json: AsJson = False,
) -> None:
    """Run a pipeline, here or on Kubeflow, and follow it; here, typed again, it goes on."""
    from shipway.cli.arguments import collect_params
    from shipway.errors import InvalidSpec
    from shipway.person import check_key, check_starter
    from shipway.remote.where import connected

    params = collect_params(param or [], params_file, preset)
    kubeflow = connected(kfp, here=local)
    if fresh and (kubeflow is not None or key):
        raise InvalidSpec(
            "not on Kubeflow, whose cache is its own, and not with --key", field="--fresh", fix="leave one of them out"
        )
    if kubeflow is not None:
        from shipway.cli.kubeflow import send

        send(
            kubeflow, pipeline, params, watch=True, dry_run=dry_run, as_json=as_json, started_by=started_by, key=key
        )  # fmt: skip
        return
    if not local:
        raise InvalidSpec(
            f"say where: `shipway run {pipeline} --local ...` runs on this machine, `shipway run "
            f"{pipeline} --kfp URL ...` on Kubeflow",
            field="run",
        )
    starter = None if started_by is None else check_starter(started_by)
    key = check_key(key) if key else ""
    play(pipeline, params, fresh=fresh, dry_run=dry_run, as_json=as_json, started_by=starter, key=key)


def play(
    pipeline: str,
    params: dict[str, Any],
    *,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
    started_by: str | None = None,
    key: str = "",
) -> None:
    """Plans, runs, and ends the command with the run's exit code."""
    from shipway.cli.following import follow, tell_of_before
    from shipway.cli.planning import make_run_plan, show_plan
    from shipway.context import Context
    from shipway.executors import current
    from shipway.local.hosting import prepare_host
    from shipway.local.prepared import prepare
    from shipway.runs import Run
    from shipway.runs.here import start

    current()  # an unknown executor is refused before anything else
    context = Context.current()
    if not dry_run:
        prepare_host(context.home)
    prepared = prepare(pipeline, params)
    plan = make_run_plan(prepared, with_key=dry_run, idempotency_key=key)
    if dry_run:
        _show_dry_run(plan, as_json)
        return
    if not as_json:
        show_plan(plan)
        say()
    started = Run(start(prepared, fresh=fresh, idempotency_key=key, by=started_by))
    if not as_json:
        say(f"Run {started.key}; log {context.home / 'runs' / started.key}", style="dim")
    tell_of_before(started, as_json=as_json)
    follow(started, titles={step.task: step.title for step in plan.steps}, as_json=as_json)


def _show_dry_run(plan: RunPlan, as_json: bool) -> None:
    from shipway.cli.planning import show_plan

    if as_json:
        print_json(plan)
        return
    show_plan(plan)
    say()
    say("Nothing was started (--dry-run).", style="dim")
