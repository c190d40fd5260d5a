"""`schedule create|list|show|pause|resume|change|delete`: recurring runs on Kubeflow."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, shown_params, table
from shipway.cli.kubeflow import Experiment, Preset, ServiceAccount
from shipway.cli.options import DryRun, Kfp, Params, ParamsFile

if TYPE_CHECKING:
    from shipway.remote import Connection
    from shipway.remote.generations import Schedule
    from shipway.remote.recurring import PlannedSchedule

app = typer.Typer(help="Recurring runs on Kubeflow.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The schedule's name.")]
WHEN = "Cron (six fields, five, @daily) or words: 'every monday at 01:00', 'every 15 minutes'."
Zone = Annotated[str | None, typer.Option(help="Time zone of --when, Europe/Berlin; default: the cluster's.")]
Start = Annotated[str | None, typer.Option(help="Not before: 2026-12-01 or 2026-12-01T08:00, in the zone.")]
End = Annotated[str | None, typer.Option(help="Not after, likewise.")]
Concurrency = Annotated[int | None, typer.Option(help="Runs at the same time at most, 1 to 10 (default 1).")]
Catchup = Annotated[bool | None, typer.Option(help="Make up for missed slots, from --start on; default: no.")]
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

    kubeflow = _kubeflow(kfp)
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
    kubeflow = _kubeflow(kfp)
    schedules = kubeflow.schedules()
    if as_json:
        print_json([document(kubeflow, schedule) for schedule in schedules])
        return
    if not schedules:
        say("No schedules yet. Next: shipway schedule create PIPELINE --when 'every monday at 01:00'")
        return
    names = [schedule.name for schedule in schedules]
    rows = []
    for schedule in schedules:
        shown = document(kubeflow, schedule)
        moments = shown["next"]
        state = shown["state"] + ("" if schedule.said else ", made elsewhere")
        state += f", {shown['left_over']}" if shown["left_over"] else ""
        end = f", until {schedule.end:%Y-%m-%d}" if schedule.end else ""
        is_ambiguous = names.count(schedule.name) > 1 and not schedule.said
        name = f"{schedule.name} ({schedule.parts[0].recurring_run_id})" if is_ambiguous else schedule.name
        rows.append((name, f"{shown['when']}{end}", shown["zone"], state, moments[0] if moments else ""))
    table(["schedule", "when", "zone", "state", "next"], rows)
    for schedule in schedules:
        if schedule.runs_out:
            say(
                f"{schedule.name}: its clock changes are written down until {schedule.end:%Y-%m-%d}, and nothing runs "
                f"after that. Next: {_renewal(schedule)}",
                style="yellow",
            )


@app.command()
def show(name: Name, kfp: Kfp = None, as_json: AsJson = False) -> None:
    """A schedule, the last times at which it was to run, and what came of each."""
    from shipway.remote.schedules import find_schedule

    kubeflow = _kubeflow(kfp)
    schedule = find_schedule(kubeflow.api, name)
    slots = kubeflow.slots(schedule)
    shown = document(kubeflow, schedule)
    if as_json:
        print_json({**shown, "slots": [{**asdict(slot), "at": slot.at.isoformat()} for slot in slots]})
        return
    heading(f"Schedule {schedule.name}: {shown['when']} in {shown['zone']}")
    facts(
        [
            ("state", shown["state"] + (f", {shown['left_over']}" if shown["left_over"] else "")),
            ("parameters", shown_params(shown["params"])),
            ("at the same time", str(schedule.parts[0].max_concurrency or 1)),
            *(("next" if number == 0 else "", moment) for number, moment in enumerate(shown["next"])),
        ]
    )
    if not slots:
        say("It was not to run yet, since it was made or last changed.")
        return
    rows = [(f"{slot.at:%a %Y-%m-%d %H:%M:%S %Z}", slot.outcome, slot.run[:8], slot.why) for slot in slots]
    table(["was to run", "what came of it", "run", "why"], rows)


@app.command()
def pause(name: Name, kfp: Kfp = None, as_json: AsJson = False) -> None:
    """No new runs until it is resumed; runs that go on are left alone."""
    kubeflow = _kubeflow(kfp)
    _tell(kubeflow, kubeflow.pause_schedule(name), "paused", as_json=as_json)


@app.command()
def resume(name: Name, kfp: Kfp = None, as_json: AsJson = False) -> None:
    """Let a paused schedule go on."""
    kubeflow = _kubeflow(kfp)
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

    kubeflow = _kubeflow(kfp)
    old = find_schedule(kubeflow.api, name)
    meant = zone or old.zone
    changes: dict[str, Any] = {
        "when": when, "zone": zone, "params": collect_params(param or [], params_file), "pipeline": pipeline,
        "version": version, "start": read_moment(kubeflow, "start", start, meant),
        "end": read_moment(kubeflow, "end", end, meant), "concurrency": concurrency, "catchup": catchup,
    }  # fmt: skip
    made = plan_change(kubeflow.api, old, **changes)
    if _shown(made, dry_run=dry_run, yes=yes, as_json=as_json):
        _tell(kubeflow, alter(kubeflow.api, name, **changes), "changed", as_json=as_json)


@app.command()
def delete(
    name: Name,
    kfp: Kfp = None,
    cancel_runs: Annotated[bool, typer.Option("--cancel-runs", help="Cancel its runs that go on first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a schedule; its runs go on to their end unless they are cancelled."""
    running = _kubeflow(kfp).delete_schedule(name, cancel_runs=cancel_runs)
    if as_json:
        print_json({"name": name, "deleted": True, "running": [asdict(run) for run in running]})
        return
    say(f"Schedule {name} is deleted. What its runs did stays in `shipway runs list`.")
    for run in running:
        say(f"Run {run.name} goes on to its end. Next: shipway watch {run.run}, or shipway cancel {run.run}")


def _kubeflow(kfp: str | None) -> Connection:
    from shipway.remote import connect

    return connect(kfp)


def read_moment(kubeflow: Connection, field: str, text: str | None, zone: str | None) -> datetime | None:
    """A date or time as typed, in the zone where it names none."""
    from shipway.errors import InvalidSpec
    from shipway.remote.zones import find_zone

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidSpec(field=f"--{field} {text!r}", allowed="2026-12-01 or 2026-12-01T08:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=find_zone(zone or kubeflow.settings.cron_zone))


def _shown(made: PlannedSchedule, *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    """Shows what would be made; whether to go on."""
    moments = [f"{at:%a %Y-%m-%d %H:%M:%S %Z}" for at in made.next_times()]
    if as_json:
        if dry_run:
            print_json(
                {"name": made.name, "when": made.when.text, "zone": made.zone, "next": moments,
                 "at_once": made.starts_at_once}
            )  # fmt: skip
        return not dry_run
    heading(f"Schedule {made.name}: {made.when.said}")
    held = f"{made.when.text} in {made.zone}"
    if len(made.parts) > 1:
        held += f", as {len(made.parts)} recurring runs in {made.cluster_zone} until {made.parts[-1].end:%Y-%m-%d}"
    elif made.zone != made.cluster_zone and made.when.cron:
        held += f", on the cluster {made.parts[0].cron} in {made.cluster_zone}"
    facts(
        [
            ("pipeline", f"{made.spec.pipeline}, {made.version or 'the newest version at every run'}"),
            ("parameters", shown_params(made.spec.params)),
            ("held as", held),
            *_beginning(made),
            (
                "at the same time",
                f"{made.at_the_same_time}; missed slots are {'' if made.spec.catchup else 'not '}made up for",
            ),
            *(("next" if number == 0 else "", moment) for number, moment in enumerate(moments)),
        ]
    )
    if dry_run:
        say("Nothing was made (--dry-run).", style="dim")
        return False
    return yes or not sys.stdin.isatty() or typer.confirm("Go on?", default=True)


def _beginning(made: PlannedSchedule) -> list[tuple[str, str]]:
    """What a start that has passed means; nothing where none has."""
    from shipway.remote.recurring import COUNTED

    if made.spec.start is None or made.spec.start > datetime.now(UTC):
        return []
    count = made.starts_at_once
    if not count:
        return [("begins", f"now, since its start has passed ({made.spec.start:%Y-%m-%d %H:%M %Z})")]
    runs = f"{count} run{'s' if count > 1 else ''}" if count < COUNTED else f"{COUNTED} runs or more"
    return [("starts at once", f"{runs}, one for each slot since {made.spec.start:%Y-%m-%d %H:%M %Z} (--catchup)")]


def document(kubeflow: Connection, schedule: Schedule) -> dict[str, Any]:
    """A schedule as `--json` prints it."""
    from shipway import redaction

    zone = schedule.zone or kubeflow.settings.cron_zone
    return {
        "name": schedule.name,
        "when": schedule.trigger,
        "zone": zone,
        "state": "enabled" if schedule.is_enabled else "paused",
        "params": redaction.parameters(schedule.params),
        "left_over": _left_over(schedule),
        "next": [f"{at:%a %Y-%m-%d %H:%M %Z}" for at in schedule.next_times(kubeflow.settings.cron_zone)],
        "end": schedule.end.isoformat() if schedule.end else None,
        "renew": _renewal(schedule) if schedule.runs_out else None,
        "recurring_runs": [str(part.recurring_run_id) for part in schedule.parts],
    }


def _left_over(schedule: Schedule) -> str:
    """What is still there of earlier versions, in words; empty for nothing."""
    if any(job.status == "ENABLED" for job in (*schedule.older, *schedule.twins)):
        return "half changed: any command on it mends it"
    if schedule.older or schedule.twins:
        return "an earlier version is still there, disabled: it is deleted when its run has ended"
    return ""


def _renewal(schedule: Schedule) -> str:
    """The command that makes a schedule anew, its clock changes written down from now on."""
    return f"shipway schedule change {shlex.quote(schedule.name)}"


def _tell(kubeflow: Connection, schedule: Schedule, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document(kubeflow, schedule))
        return
    moments = document(kubeflow, schedule)["next"]
    say(f"Schedule {schedule.name} is {done}." + (f" Next: {moments[0]}." if moments else ""))
