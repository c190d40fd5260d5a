"""`runs list|show|compare` and `logs`, for runs here and on Kubeflow."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import MARKS, AsJson, print_json, say, table
from shipway.cli.place import Kfp, Local, connection, is_there

if TYPE_CHECKING:
    from shipway.artifacts import RunRecord
    from shipway.local.folder import RunFolder
    from shipway.remote import RemoteRun
    from shipway.runs import Run

app = typer.Typer(help="Runs: list, show, compare.", no_args_is_help=True, rich_markup_mode=None)
Key = Annotated[str, typer.Argument(help="A run's key or its beginning; `last` for the newest.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 10,
    kfp: Kfp = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Runs, the newest first."""
    if is_there(kfp, local):
        from shipway.cli.there import list_there

        list_there(connection(kfp), limit, as_json=as_json)
        return
    records = _records()[:limit]
    if as_json:
        print_json(
            [
                {"run": r.run, "pipeline": r.pipeline, "name": r.name, "state": r.state, "started_at": r.started_at,
                 "seconds": r.seconds}
                for r in records
            ]
        )  # fmt: skip
        return
    if not records:
        say("No runs yet. Next: shipway demo")
        return
    from shipway.pages.numbers import duration

    rows = [
        (r.run, r.pipeline, r.name, r.state, r.started_at.replace("T", " ")[:19], duration(r.seconds)) for r in records
    ]
    styles = [MARKS.get(r.state) if r.state != "Succeeded" else None for r in records]
    table(["run", "pipeline", "name", "state", "started (UTC)", "took"], rows, right=["took"], styles=styles)
    say("Next: shipway runs show RUN", style="dim")


@app.command()
def show(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """One run: steps, scores, decision, endpoint."""
    from shipway.cli.screens import closing_screen

    summary = summary_of(load(run, kfp, local))
    if as_json:
        print_json(summary)
    else:
        closing_screen(summary)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs.")],
    kfp: Kfp = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Runs side by side: parameters and metrics that differ, seconds by step."""
    from shipway.errors import InvalidSpec

    if len(runs) < 2:
        raise InvalidSpec(f"runs compare: got {len(runs)} run, expected at least two")
    comparison = compare_summaries([summary_of(load(run, kfp, local)) for run in runs])
    if as_json:
        print_json(comparison)
        return
    names = [summary["run"] for summary in comparison["runs"]]
    for title, rows in comparison["tables"].items():
        say()
        table([title, *names], [(key, *[_shown(v) for v in values]) for key, values in rows.items()], right=names)


def compare_summaries(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """What differs between runs.

    Returns:
        `runs`: key, state, seconds of each; `tables`: title -> row name -> one value per run, None where it has none.
        Parameters are shown where they differ, metrics and steps all.
    """
    parameters = _rows(summaries, lambda s: {**s["parameters"], **(s["best_parameters"] or {})})
    metrics = _rows(summaries, lambda s: (s["evaluation"] or {}).get("metrics", {}))
    baselines = _rows(summaries, _baselines)
    steps = _rows(summaries, lambda s: {x["step"]: _took(x) for x in s["steps"]})
    decision = _rows(
        summaries,
        lambda s: {"decision": (s["decision"] or {}).get("decision"), "version": (s["model"] or {}).get("version")},
    )
    differing = {key: row for key, row in parameters.items() if any(value != row[0] for value in row)}
    return {
        "runs": [{key: s[key] for key in ("run", "name", "state", "seconds")} for s in summaries],
        "tables": {"metric": {**metrics, **baselines, **decision}, "parameter": differing, "step (s)": steps},
    }


def _baselines(summary: dict[str, Any]) -> dict[str, float]:
    """By name, the metric that models are compared by."""
    evaluation = summary["evaluation"] or {"baselines": {}, "shown": []}
    first = [info["name"] for info in evaluation["shown"][:1]]
    return {f"{name} {m}": b["metrics"][m] for name, b in evaluation["baselines"].items() for m in first}


def _took(step: dict[str, Any]) -> float | str:
    state, seconds = str(step["state"]), float(step["seconds"])
    return state.lower() if state in ("Cached", "Skipped") else round(seconds, 1)


def _rows(summaries: list[dict[str, Any]], facts: Any) -> dict[str, list[Any]]:
    found = [facts(summary) for summary in summaries]
    names = list(dict.fromkeys(name for each in found for name in each))
    return {name: [each.get(name) for each in found] for name in names}


def _shown(value: Any) -> str:
    from shipway.pages.numbers import number

    return number(value) if not isinstance(value, dict | list) else str(value)


def logs(
    run: Key,
    step: Annotated[
        str | None, typer.Argument(help="A step, by title, name or role; without one, the step that failed, or all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on printing while the run goes on.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Only the last N lines of each log; 0 for all.")] = 0,
    raw: Annotated[bool, typer.Option("--raw", help="With the lines that KFP itself prints around a step's.")] = False,
    kfp: Kfp = None,
    local: Local = False,
) -> None:
    """What a run's steps recorded and printed."""
    from shipway.cli.there import logs_there
    from shipway.local.folder import RunFolder

    if is_there(kfp, local):
        logs_there(connection(kfp), run, step, follow=follow, tail=tail, is_raw=raw)
        return
    folder = RunFolder(home(), local_key(run))
    wanted = _logs_of(folder, step)
    for name, path in wanted.items():
        if len(wanted) > 1:
            say(f"==> {name} <==", style="bold")
        goes_on = (lambda: folder.host_lives()) if follow and len(wanted) == 1 else (lambda: False)
        _print_log(path, tail, goes_on, is_raw=raw)


def _logs_of(folder: RunFolder, step: str | None) -> dict[str, Path]:
    """Log files by step: of those that are named, else of the one that failed, else all."""
    from shipway.artifacts import StepRecord
    from shipway.cli.there import called_by, find_steps

    files = {path.stem: path for path in sorted(folder.path.glob("*.log"), key=lambda p: p.stat().st_mtime)}
    records = [StepRecord.model_validate(e["step"]) for _, e in folder.events(0) if e["kind"] == "step"]
    told = {record.name: record for record in records}
    if step is not None:
        called = {name: called_by(told[name]) if name in told else [name] for name in files}
        return {name: files[name] for name in find_steps(step, called, f"run {folder.run}")}
    failed = next((name for name, record in told.items() if record.state == "Failed" and name in files), None)
    return {failed: files[failed]} if failed else files


def _print_log(path: Path, tail: int, goes_on: Any, *, is_raw: bool) -> None:
    from shipway.redaction import Stream
    from shipway.remote.noise import own_words

    out = Stream(sys.stdout)
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.readlines() if is_raw else list(own_words(file))
        out.writelines(lines[-tail:] if tail else lines)
        while goes_on():
            rest = file.read()
            if not rest:
                time.sleep(0.2)
                continue
            out.write(rest)
            out.flush()
        out.write(file.read())


def home() -> Path:
    """Local state folder."""
    from shipway.context import Context

    return Context.current().home


def local_key(beginning: str) -> str:
    """The key of a run on this machine that begins so; logs need no store."""
    from shipway.errors import NotFound

    folders = sorted((p for p in (home() / "runs").glob("*") if p.is_dir()), key=lambda p: p.stat().st_mtime)
    if beginning == "last":
        if not folders:
            raise NotFound("run: no runs on this machine yet; `shipway demo` makes one")
        return folders[-1].name
    # An empty key is a variable that was not set, and fits every run: it is none.
    found = [path.name for path in folders if beginning and path.name.startswith(beginning)]
    if beginning in found:
        return beginning
    if len(found) != 1:
        raise NotFound(
            f"run: {len(found)} runs on this machine begin with {beginning!r}; `shipway runs list` names them"
        )
    return found[0]


def _records() -> list[RunRecord]:
    """Runs that storage knows, with those of this machine that have not told their end; the newest first."""
    from shipway.cli.places import has_store
    from shipway.runs import list_runs, unfinished_runs

    unfinished = {run.key: run.record for run in unfinished_runs(home()) if run.record}
    known = list_runs() if has_store() else []
    ended = [record for record in known if record.run not in unfinished]
    return sorted([*unfinished.values(), *ended], key=lambda record: record.started_at, reverse=True)


def load(key: str, kfp: str | None = None, local: bool = False) -> Run | RemoteRun:
    """A run by its key, here or on Kubeflow."""
    return connection(kfp).run(key) if is_there(kfp, local) else load_here(key)


def summary_of(run: Run | RemoteRun) -> dict[str, Any]:
    """The document of a run, wherever it is."""
    from shipway.runs import Run as RunHere

    if isinstance(run, RunHere):
        from shipway.summary import summarise

        return summarise(run)
    from shipway.remote.summary import summarise as summarise_there

    return summarise_there(run)


def load_here(key: str) -> Run:
    """A run of this machine by its key, the key's beginning, or `last`."""
    from shipway.cli.places import has_store
    from shipway.errors import NotFound
    from shipway.runs import load_run, unfinished_runs

    if key == "last":
        records = _records()
        if not records:
            raise NotFound("run: no runs yet; `shipway demo` makes one")
        key = records[0].run
    if has_store():
        return load_run(key)
    found = [run for run in unfinished_runs(home()) if key and run.key.startswith(key)]
    if len(found) != 1:  # looking must not start a store that was never there
        raise NotFound(
            f"run: {len(found)} runs begin with {key!r}; nothing is stored here yet, `shipway demo` makes a run"
        )
    return found[0]
