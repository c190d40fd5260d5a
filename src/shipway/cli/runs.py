"""`runs list|show|compare`, for runs here and on Kubeflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say, table
from shipway.cli.options import Key, Kfp, Local

if TYPE_CHECKING:
    from shipway.remote import Connection
    from shipway.runs import Run

app = typer.Typer(help="Runs: list, show, compare.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 10,
    kfp: Kfp = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Runs, the newest first: state, who started them, what they measured and decided."""
    from shipway.pages.numbers import duration
    from shipway.remote.where import connected
    from shipway.runs import list_runs
    from shipway.runs.progress import MARKS

    kubeflow = connected(kfp, here=local)
    listed = list_runs(limit, here=kubeflow is None, kfp=kubeflow)
    schedules = schedule_names(kubeflow, listed) if kubeflow is not None else {}
    rows = [_row(run, schedules) for run in listed]
    if as_json:
        print_json(rows)
        return
    if not rows:
        at = f" at {kubeflow.settings.url}" if kubeflow is not None else ""
        say(f"No runs{at} yet. Next: shipway {'submit PIPELINE --param ...' if kubeflow is not None else 'demo'}")
        return
    shown = [
        (
            run.key if run.is_here else run.key[:8], row["name"], row["state"],
            row["started_at"].replace("T", " ")[:19], duration(row["seconds"]), row["started_by"],
            run.figures, row["decision"],
        )
        for run, row in zip(listed, rows, strict=True)
    ]  # fmt: skip
    styles = [MARKS.get(row["state"]) if row["state"] != "Succeeded" else None for row in rows]
    columns = ["run", "name", "state", "started (UTC)", "took", "started by", "metrics", "decision"]
    table(columns, shown, right=["took"], styles=styles)
    say("Next: shipway runs show RUN", style="dim")


def _row(run: Run, schedules: dict[str, str]) -> dict[str, Any]:
    record, schedule = run.record, schedules.get(run.key)
    return {
        "run": run.key,
        "pipeline": record.pipeline,
        "name": run.name,
        "state": run.state,
        "started_at": record.started_at,
        "seconds": record.seconds,
        "started_by": record.started_by if schedule is None else f"schedule {schedule}",
        "idempotency_key": record.idempotency_key,
        "metrics": run.metrics,
        "decision": run.output("gate", "decision") or "",
    }


def schedule_names(kubeflow: Connection, runs: list[Run]) -> dict[str, str]:
    """Run's key -> name of the schedule that started it; schedules are asked for only where one did."""
    ids = {run.key: str(getattr(run.backend, "recurring_run_id", "")) for run in runs}
    if not any(ids.values()):
        return {}
    from shipway.remote.marks import read_mark

    names = {
        str(job.recurring_run_id): str(read_mark(job).get("name") or job.display_name)
        for job in kubeflow.api.recurring()
    }
    return {key: names.get(job, "deleted since") for key, job in ids.items() if job}


@app.command()
def show(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """One run: steps, scores, decision, endpoint."""
    from shipway.cli.screens import closing_screen
    from shipway.runs import load_run

    summary = load_run(run, here=local, kfp=kfp).summary()
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
    from shipway.runs import load_run

    if len(runs) < 2:
        raise InvalidSpec(f"got {len(runs)} run, expected at least two", field="runs compare")
    comparison = compare_summaries([load_run(run, here=local, kfp=kfp).summary() for run in runs])
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
    facts_of_runs = [facts(summary) for summary in summaries]
    names = list(dict.fromkeys(name for each in facts_of_runs for name in each))
    return {name: [each.get(name) for each in facts_of_runs] for name in names}


def _shown(value: Any) -> str:
    from shipway.pages.numbers import number

    return number(value) if not isinstance(value, dict | list) else str(value)
