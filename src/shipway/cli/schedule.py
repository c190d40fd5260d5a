"""`schedule create|list|pause|resume|change|delete`: recurring runs on Kubeflow."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, table
from shipway.cli.kubeflow import Experiment, Preset, ServiceAccount
from shipway.cli.place import Kfp, connection
from shipway.cli.running import DryRun, Params, ParamsFile

if TYPE_CHECKING:
    from shipway.remote import Connection
    from shipway.remote.recurring import Plan
    from shipway.remote.schedules import Schedule

app = typer.Typer(help="Recurring runs on Kubeflow.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The schedule's name.")]
WHEN = "Cron (six fields, five, @daily) or words: 'every monday at 01:00', 'every 15 minutes'."
Zone = Annotated[str | None, typer.Option(help="Time zone of --when, Europe/Berlin; default: the cluster's.")]
Start = Annotated[str | None, typer.Option(help="Not before: 2026-12-01 or 2026-12-01T08:00, in the zone.")]
End = Annotated[str | None, typer.Option(help="Not after, likewise.")]
Concurrency = Annotated[int | None, typer.Option(help="Runs at the same time at most, 1 to 10 (default 1).")]
Catchup = Annotated[bool | None, typer.Option(help="Make up for missed slots; default: no.")]
Version = Annotated[str | None, typer.Option(help="Pin a published version; default: every run takes the newest.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
def create(
    pipeline: Annotated[str, typer.Argument(help="A published pipeline: name or name@version.")],
    when: Annotated[str, typer.Option(help=WHEN)],
    kfp: Kfp = None,
    name: Annotated[str | None, typer.Option(help="The schedule's; default: the pipeline's and the model's.")] = None,
    zone: Zone = None,
    param: Params = None,
    params_file: ParamsFile = None,
    preset: Preset = None,
    version: Version = None,
    start: Start = None,
    end: End = None,
    concurrency: Concurrency = None,
    catchup: Catchup = None,
    experiment: Experiment = None,
    service_account: ServiceAccount = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run a published pipeline again and again; shows the next five times first."""
    from shipway.cli.arguments import collect_params
    from shipway.remote.schedules import create as make

    kubeflow = connection(kfp)
    made = kubeflow.plan_schedule(
        pipeline, when, params=collect_params(param or [], params_file, preset), name=name, zone=zone, version=version,
        start=read_moment(kubeflow, "start", start, zone), end=read_moment(kubeflow, "end", end, zone),
        concurrency=1 if concurrency is None else concurrency, catchup=bool(catchup), experiment=experiment,
        service_account=service_account,
    )  # fmt: skip
    if _shown(made, dry_run=dry_run, yes=yes, as_json=as_json):
        _tell(kubeflow, make(kubeflow.api, made), "made", as_json=as_json)


@app.command("list")
def list_(kfp: Kfp = None, as_json: AsJson = False) -> None:
    """Schedules, with when each runs next."""
    kubeflow = connection(kfp)
    found = kubeflow.schedules()
    if as_json:
        print_json([document(kubeflow, schedule) for schedule in found])
        return
    if not found:
        say("No schedules yet. Next: shipway schedule create PIPELINE --when 'every monday at 01:00'")
        return
    rows = []
    for schedule in found:
        shown = document(kubeflow, schedule)
        moments = shown["next"]
        state = shown["state"] + (", half changed: any command on it mends it" if schedule.older else "")
        end = f", until {schedule.end:%Y-%m-%d}" if schedule.end else ""
        rows.append((schedule.name, f"{shown['when']}{end}", shown["zone"], state, moments[0] if moments else ""))
    table(["schedule", "when", "zone", "state", "next"], rows)


@app.command()
def pause(name: Name, kfp: Kfp = None, as_json: AsJson = False) -> None:
    """No new runs until it is resumed; runs that go on are left alone."""
    kubeflow = connection(kfp)
    _tell(kubeflow, kubeflow.pause_schedule(name), "paused", as_json=as_json)


@app.command()
def resume(name: Name, kfp: Kfp = None, as_json: AsJson = False) -> None:
    """Let a paused schedule go on."""
    kubeflow = connection(kfp)
    _tell(kubeflow, kubeflow.pause_schedule(name, paused=False), "resumed", as_json=as_json)


@app.command()
def change(
    name: Name,
    kfp: Kfp = None,
    when: Annotated[str | None, typer.Option(help=WHEN)] = None,
    zone: Zone = None,
    param: Params = None,
    params_file: ParamsFile = None,
    pipeline: Annotated[str | None, typer.Option(help="Another published pipeline.")] = None,
    version: Annotated[str | None, typer.Option(help="Pin a version; `newest` lets go of it.")] = None,
    start: Start = None,
    end: End = None,
    concurrency: Concurrency = None,
    catchup: Catchup = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change a schedule without a gap; what is not named stays."""
    from shipway.cli.arguments import collect_params
    from shipway.remote.schedules import change as alter
    from shipway.remote.schedules import find_schedule, plan_change

    kubeflow = connection(kfp)
    changes: dict[str, Any] = {
        "when": when, "zone": zone, "params": collect_params(param or [], params_file), "pipeline": pipeline,
        "version": version, "start": read_moment(kubeflow, "start", start, zone),
        "end": read_moment(kubeflow, "end", end, zone), "concurrency": concurrency, "catchup": catchup,
    }  # fmt: skip
    made = plan_change(kubeflow.api, find_schedule(kubeflow.api, name), **changes)
    if _shown(made, dry_run=dry_run, yes=yes, as_json=as_json):
        _tell(kubeflow, alter(kubeflow.api, name, **changes), "changed", as_json=as_json)


@app.command()
def delete(name: Name, kfp: Kfp = None, as_json: AsJson = False) -> None:
    """Delete a schedule; its runs stay."""
    connection(kfp).delete_schedule(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"Schedule {name} is deleted; its runs stay.")


def read_moment(kubeflow: Connection, field: str, text: str | None, zone: str | None) -> datetime | None:
    """A date or time as typed, in the zone where it names none."""
    from shipway.errors import InvalidSpec
    from shipway.remote.zones import find_zone

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidSpec(f"--{field} {text!r}: expected 2026-12-01 or 2026-12-01T08:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=find_zone(zone or kubeflow.settings.cron_zone))


def _shown(made: Plan, *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    """Shows what would be made; whether to go on."""
    moments = [f"{at:%a %Y-%m-%d %H:%M:%S %Z}" for at in made.next_times()]
    if as_json:
        if dry_run:
            print_json({"name": made.name, "when": made.when.text, "zone": made.zone, "next": moments})
        return not dry_run
    heading(f"Schedule {made.name}: {made.when.said}")
    given = ", ".join(f"{key}={value}" for key, value in made.params.items())
    held = f"{made.when.text} in {made.zone}"
    if len(made.parts) > 1:
        held += f", as {len(made.parts)} recurring runs in {made.cluster_zone} until {made.parts[-1].end:%Y-%m-%d}"
    elif made.zone != made.cluster_zone and made.when.cron:
        held += f", on the cluster {made.parts[0].cron} in {made.cluster_zone}"
    facts(
        [
            ("pipeline", f"{made.pipeline}, {made.version or 'the newest version at every run'}"),
            ("parameters", given or "none"),
            ("held as", held),
            ("at the same time", f"{made.concurrency}; missed slots are {'' if made.catchup else 'not '}made up for"),
            *(("next" if number == 0 else "", moment) for number, moment in enumerate(moments)),
        ]
    )
    if dry_run:
        say("Nothing was made (--dry-run).", style="dim")
        return False
    return yes or not sys.stdin.isatty() or typer.confirm("Go on?", default=True)


def document(kubeflow: Connection, schedule: Schedule) -> dict[str, Any]:
    """A schedule as `--json` prints it."""
    zone = schedule.zone or kubeflow.settings.cron_zone
    return {
        "name": schedule.name,
        "when": schedule.trigger,
        "zone": zone,
        "state": "enabled" if schedule.is_enabled else "paused",
        "params": schedule.params,
        "next": [f"{at:%a %Y-%m-%d %H:%M %Z}" for at in schedule.next_times(kubeflow.settings.cron_zone)],
        "recurring_runs": [str(part.recurring_run_id) for part in schedule.parts],
    }


def _tell(kubeflow: Connection, schedule: Schedule, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document(kubeflow, schedule))
        return
    moments = document(kubeflow, schedule)["next"]
    say(f"Schedule {schedule.name} is {done}." + (f" Next: {moments[0]}." if moments else ""))
