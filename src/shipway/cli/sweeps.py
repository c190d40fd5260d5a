"""`sweeps list|show|best|compare|stop|resume`, from the store's records alone, whoever plays them and where."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, table
from shipway.cli.sweep_words import (
    best_after,
    cost_of,
    document_of,
    facts_of,
    next_command,
    space_of,
    text_of,
    time_of,
    value_of,
)

if TYPE_CHECKING:
    from shipway.components.sweep.stored import Listed, StoredSweep

app = typer.Typer(help="Sweeps: list, show, stop, go on, compare.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="A sweep's name or its beginning; `last` for the newest.")]
_STYLES = {"Running": "cyan", "Failed": "red", "Interrupted": "yellow", "Stopped": "yellow"}
WATCH_S = 7.0  # in which a living engine shows three signs of life


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Sweeps, the newest first: what they search, how far they are, the best so far."""
    from shipway.local.store import has_store

    found = [_row(each) for each in _listed()[:limit]] if has_store() else []
    if as_json:
        print_json(found)
        return
    if not found:
        say("No sweeps yet. Next: shipway run train_and_deploy --local --param name=my-bot data=rows.csv")
        return
    keys = ["sweep", "model", "state", "algorithm", "trials", "objective", "best", "cost", "changed (UTC)"]
    rows = [
        (row["sweep"], row["model"], row["state"], row["algorithm"], f"{row['trials']} of {row['of']}",
         row["objective"], text_of(row["best"]), row["cost"], row["changed_at"].replace("T", " ")[:19])
        for row in found
    ]  # fmt: skip
    styles = [_STYLES.get(row["state"]) for row in found]
    table(keys, rows, right=["trials", "best", "cost"], styles=styles)
    say(f"Next: shipway sweeps show {found[0]['sweep']}", style="dim")


@app.command()
def show(name: Name = "last", as_json: AsJson = False) -> None:
    """One sweep: what it searches, what it cost, every trial and why it ended."""
    from shipway.components.sweep.summary import why_it_ended

    sweep = _find(name)
    if as_json:
        print_json({**document_of(sweep), "trials": sweep.record.trials})
        return
    heading(f"{sweep.name}: {sweep.state}{f', {sweep.why}' if sweep.why else ''}")
    facts(facts_of(sweep))
    names = [parameter.name for parameter in sweep.spec.parameters]
    rows = [
        (
            trial.number,
            trial.state,
            text_of(value_of(sweep, trial)),
            *[text_of(trial.params.get(each)) for each in names],
            len(trial.history),
            cost_of(sweep, trial.held_s),
            why_it_ended(trial),
        )
        for trial in sweep.record.trials
    ]
    styles = [
        "green" if trial.number == sweep.record.best_trial else "red" if trial.state == "Failed" else None
        for trial in sweep.record.trials
    ]
    if rows:
        say()
        columns = ["trial", "state", sweep.record.objective, *names, "reports", "cost", "why"]
        table(columns, rows, right=columns[:1] + columns[2:-1], styles=styles)
    say(f"Next: {next_command(sweep)}", style="dim")


@app.command()
def best(name: Name = "last", as_json: AsJson = False) -> None:
    """The parameters that a sweep would end with now, as JSON."""
    sweep = _find(name)
    params = dict(sweep.record.best_params)
    if as_json:
        print_json(
            {"sweep": sweep.name, "trial": sweep.record.best_trial, "value": sweep.record.best_value, "params": params}
        )
        return
    print(json.dumps(params, ensure_ascii=False, sort_keys=True))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A sweep's name or its beginning.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    as_json: AsJson = False,
) -> None:
    """Two sweeps side by side: spaces, the best, and the best so far after each doubling of trials."""
    sweeps = [_find(first), _find(second)]
    if as_json:
        print_json({"sweeps": [document_of(sweep) for sweep in sweeps], "curves": [sweep.climb() for sweep in sweeps]})
        return
    names = ["", *[sweep.name for sweep in sweeps]]
    pairs = [dict(facts_of(sweep)) for sweep in sweeps]
    table(names, [(key, *[pair.get(key, "") for pair in pairs]) for key in dict.fromkeys([*pairs[0], *pairs[1]])])
    spaces = [{each.name: space_of(each) for each in sweep.spec.parameters} for sweep in sweeps]
    say()
    parameters = dict.fromkeys([*spaces[0], *spaces[1]])
    table(
        ["parameter", *names[1:]],
        [(name, *[space.get(name, "not searched") for space in spaces]) for name in parameters],
    )
    say()
    most = max((len(sweep.record.trials) for sweep in sweeps), default=0)
    counts = [count for count in (2**power for power in range(20)) if count < most] + [most]
    rows = [(count, *[text_of(best_after(sweep, count)) for sweep in sweeps]) for count in counts if count]
    table(["best after trials", *names[1:]], rows, right=names[1:])
    if sweeps[0].record.objective != sweeps[1].record.objective or sweeps[0].dataset != sweeps[1].dataset:
        say("They differ in objective or dataset: the values do not compare.", style="yellow")


@app.command()
def stop(
    name: Name,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for its end.")] = 60,
    as_json: AsJson = False,
) -> None:
    """End a running sweep with what it has: trials under way are ended, finished ones count."""
    from shipway.components.sweep.ledger import Ledger
    from shipway.components.sweep.stored import RUNNING
    from shipway.person import who_types
    from shipway.storage import open_folder

    sweep = _find(name)
    was_over = sweep.state != RUNNING
    if not was_over:
        Ledger(open_folder(sweep.uri)).ask_to_stop(who_types() or "a person")
        deadline = time.monotonic() + wait
        while sweep.state == RUNNING and time.monotonic() < deadline:
            time.sleep(0.5)
            sweep = _find(sweep.name)
    if as_json:
        print_json(
            {"sweep": sweep.name, "state": sweep.state, "was_over": was_over, "trials": len(sweep.record.trials)}
        )
    elif was_over:
        say(f"Sweep {sweep.name} was over already: {sweep.state}.")
    elif sweep.state == RUNNING:
        say(f"Sweep {sweep.name} has been told to stop and has not ended yet. Next: shipway sweeps show {sweep.name}")
    else:
        say(f"Sweep {sweep.name} is over: {sweep.state}, {len(sweep.record.trials)} trials count.")
        say(f"Next: shipway sweeps resume {sweep.name}", style="dim")
    if sweep.state == RUNNING:
        raise typer.Exit(1)


@app.command()
def resume(name: Name, as_json: AsJson = False) -> None:
    """Go on with a sweep that was stopped, failed, or whose engine went away; here, with this machine's executor."""
    import contextlib
    import sys

    from shipway.components.sweep import launch, stored
    from shipway.components.sweep.ledger import Ledger
    from shipway.errors import InvalidSpec
    from shipway.local.store import prepare_store
    from shipway.storage import open_folder

    sweep = _find(name)
    ledger = Ledger(open_folder(sweep.uri))
    if "experiment" in ledger.origin():
        raise InvalidSpec(
            "an Experiment goes on when its manifest is run again", field="sweeps resume", given=sweep.name
        )
    if stored.is_alive(ledger, WATCH_S):
        raise InvalidSpec(
            f"{sweep.name} is being played by {(ledger.lease() or {}).get('engine')}",
            field="sweeps resume",
            fix=f"wait, or end that one first: shipway sweeps stop {sweep.name}",
        )
    if sweep.state == stored.ENDED:
        raise InvalidSpec(
            f"{sweep.name} went to its end{f' ({sweep.why})' if sweep.why else ''}",
            field="sweeps resume",
            fix="run it again with more maxTrialCount or budget: that is another sweep",
        )
    prepare_store()
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        launch.resume(sweep.name, sweep.uri, sweep.spec, sweep.dataset)
    ended = _find(sweep.name)
    if as_json:
        print_json(document_of(ended))
        return
    best_value = text_of(ended.record.best_value)
    say(f"Sweep {ended.name}: {ended.state}, {len(ended.record.trials)} trials, best {best_value}")
    say(f"Next: shipway sweeps show {ended.name}", style="dim")


def _listed() -> list[Listed]:
    from shipway.components.sweep.stored import list_sweeps
    from shipway.local.store import open_store

    return list_sweeps(open_store())


def _find(name: str) -> StoredSweep:
    from shipway.components.sweep.stored import find_sweep
    from shipway.local.store import open_store

    return find_sweep(open_store(), name)


def _row(listed: Listed) -> dict[str, Any]:
    from shipway.components.sweep.stored import read_sweep
    from shipway.errors import ShipwayError, one_line
    from shipway.local.store import open_store

    try:
        return document_of(read_sweep(open_store(), listed))
    except ShipwayError as error:  # one that cannot be read hides no other
        nothing = dict.fromkeys(["model", "algorithm", "objective", "cost"], "")
        return {"sweep": listed.name, "state": "Unreadable", "why": one_line(error), "trials": listed.trials, "of": "?",
                "best": None, "changed_at": time_of(listed.changed), **nothing}  # fmt: skip
