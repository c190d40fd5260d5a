"""What a run's end looks like: what was found, where it lies, what to type next. Drawn from `shipway.summary` alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from shipway.cli.console import console, facts, heading, say, table
from shipway.errors import one_line
from shipway.pages.numbers import duration, figure, inline, number
from shipway.runs.progress import MARKS
from shipway.summary import all_told

COLUMNS = 2  # metrics beside the baselines'
Summary = Mapping[str, Any]


def closing_screen(summary: Summary) -> None:
    """The closing screen of any run; what did not come about is not shown."""
    _steps(summary)
    webhook = next((str(step["outputs"]["webhook"]) for step in summary["steps"] if "webhook" in step["outputs"]), "")
    if webhook and not re.search(r"answered 2\d\d$", webhook):
        say(f"The webhook was not told: {webhook}", style="yellow")
    for step in summary["steps"]:
        if step["outputs"].get("hint"):
            say(f"{step['title']}: {step['outputs']['hint']}", style="yellow")
    if summary["state"] == "Running":
        say(f"Next: shipway watch {summary['run']}", style="dim")
        return
    if summary["state"] not in ("Succeeded",):
        _failure(summary)
        return
    if summary["evaluation"]:
        _scores(summary["evaluation"])
        _tables(summary["evaluation"])
    if summary["best_parameters"]:
        _parameters(summary)
    if summary["decision"]:
        _decision(summary)
    for title, columns, told in all_told(summary):
        heading(title)
        table(columns, told)
    _places(summary)
    _next(summary)


def _steps(summary: Summary) -> None:
    rows, styles = [], []
    for step in summary["steps"]:
        is_timed = step["state"] not in ("Cached", "Skipped") and (step["seconds"] or step["state"] != "Running")
        took = duration(step["seconds"]) if is_timed else ""
        far = step["progress"]["text"] if step.get("progress") else ""
        rows.append((step["title"], step["state"], took, far))
        styles.append(MARKS.get(step["state"]) if step["state"] not in ("Succeeded",) else None)
    columns = ["step", "state", "took", "progress"] if any(row[-1] for row in rows) else ["step", "state", "took"]
    say()
    table(columns, [row[: len(columns)] for row in rows], right=["took"], styles=styles)
    colour = MARKS.get(summary["state"], "")
    say()
    say(f"Run {summary['run']}: {summary['state']} in {duration(summary['seconds'])}", style=f"bold {colour}".strip())


def error_line(error: Summary) -> str:
    """`error: step: message`, on one line."""
    message = one_line(error.get("message", "no reason was recorded"))
    where = "" if not error.get("step") or message.startswith(f"{error['step']}:") else f"{error['step']}: "
    return f"error: {where}{message}"


def _failure(summary: Summary) -> None:
    error = summary["error"] or {}
    if summary["state"] == "Cancelled":
        if is_there(summary):
            say(f"Stopped. shipway retry {summary['run']} goes on; shipway clone starts anew.")
        else:
            say("Stopped. Type the same command again to go on; --fresh starts anew.")
        return
    if is_there(summary) and not error and (summary["note"] or not summary["store"]):
        from shipway.remote.records import HOW

        why = summary["note"] or f"the steps' own records do: {HOW}"
        error = {"message": f"Kubeflow keeps no reason; {why}"}
    console(stderr=True).print(error_line(error), markup=False)
    if error.get("replica"):
        say(f"First to fail: {error['replica']} (exit code {error.get('exit_code')})")
    for line in error.get("last_lines", [])[-10:]:
        say(f"  | {line}", style="dim")
    say(f"Next: shipway logs {summary['run']} {error.get('step') or ''}".rstrip(), style="dim")


def _scores(evaluation: Summary) -> None:
    heading(f"How good it is ({evaluation['split']} split, {number(evaluation['rows'])} rows)")
    shown = evaluation["shown"][:COLUMNS]
    columns = [inline(info["title"]) for info in shown]
    bounds, is_share = evaluation["intervals"].get(shown[0]["name"]), shown[0]["is_share"]
    spread = " to ".join(figure(bound, is_share) for bound in bounds or ())
    rows = [("this model", *_cells(evaluation["metrics"], shown), spread)]
    for name, baseline in evaluation["baselines"].items():
        note = "the model loses to it" if baseline["model_loses"] else ""
        rows.append((name.replace("_", " "), *_cells(baseline["metrics"], shown), note))
    lost = any(baseline["model_loses"] for baseline in evaluation["baselines"].values())
    table(["", *columns, ""], rows, right=columns, styles=["red" if lost else "green"])
    if evaluation["left_out"]:
        say(f"{evaluation['left_out']}.", style="yellow")
    for sentence in evaluation["headline"]:
        say(sentence, style="dim")


def _cells(metrics: Mapping[str, float], shown: list[dict[str, Any]]) -> list[str]:
    return [figure(metrics.get(info["name"]), info["is_share"]) for info in shown]


def _tables(evaluation: Summary) -> None:
    """The task's facts that are lists of mappings."""
    for name, lines in evaluation["facts"].items():
        if lines and isinstance(lines, list) and all(isinstance(line, Mapping) for line in lines):
            keys = sorted({key for line in lines for key in line})
            numbers = [key for key in keys if all(isinstance(line.get(key), int | float) for line in lines)]
            heading(_words(name).capitalize())
            rows = [[line.get(key, "") for key in keys] for line in lines]
            table([_words(key) for key in keys], rows, right=[_words(key) for key in numbers])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _parameters(summary: Summary) -> None:
    sweep = summary["sweep"] or {}
    heading("Parameters that won" if sweep.get("trials") else "Parameters")
    best = ", ".join(f"{name} = {number(value)}" for name, value in summary["best_parameters"].items())
    say(best)
    if sweep and not sweep["trials"]:
        say("the training's own; there was no search", style="dim")
    elif sweep:
        early = f", {sweep['stopped_early']} stopped early" if sweep["stopped_early"] else ""
        failed = f", {sweep['failed']} failed" if sweep["failed"] else ""
        say(
            f"of {sweep['trials']} trials{early}{failed}; {sweep['objective']} {number(sweep['best_value'])}",
            style="dim",
        )
        if sweep.get("ended_by"):
            say(f"The search ended early: {sweep['ended_by']}", style="yellow")


def _decision(summary: Summary) -> None:
    decision = summary["decision"]
    heading("Decision")
    good = decision["decision"] == "blessed"
    say(f"{decision['decision']}: {decision['reason']}", style="green" if good else "yellow")
    failed = [rule for rule in decision.get("rules", []) if rule["applies"] and not rule["passed"]]
    for rule in failed if len(failed) > 1 else []:  # of a single one the reason has told
        say(f"  ✗ {rule['rule']}: {rule['detail']}", style="yellow")
    if not good:
        say("So nothing was registered or deployed; what was served before is served still.", style="dim")


def _places(summary: Summary) -> None:
    heading("Where everything lies")
    pairs: list[tuple[str, Any]] = []
    if summary["model"]:
        pairs.append(("model", f"{summary['model']['name']} version {summary['model']['version']}"))
    if summary["endpoint"]:
        pairs.append(("endpoint", summary["endpoint"]["url"]))
    if summary["reports"]:
        pairs.append(("reports", f"{', '.join(summary['reports'])} (shipway reports open {summary['run']})"))
    if summary["started_by"]:
        key = f", key {summary['idempotency_key']}" if summary["idempotency_key"] else ""
        pairs.append(("started by", f"{summary['started_by']}{key}"))
    if summary["store"]:
        pairs.append(("data", f"{summary['store']} (shipway store ls)"))
    if is_there(summary):
        pairs.append(("in Kubeflow", summary["url"] or summary["kfp_name"]))
        if summary["note"]:
            pairs.append(("records", summary["note"]))
        elif not summary["store"]:
            from shipway.remote.records import HOW

            pairs.append(("records", f"lie in the cluster's store; to see them here {HOW}"))
    else:
        pairs.append(("logs", f"{summary['home']}/runs/{summary['run']}"))
    facts(pairs)


def is_there(summary: Summary) -> bool:
    """Whether the run is Kubeflow's."""
    return "kfp_name" in summary


def reachable(endpoint: Summary) -> Summary:
    """The endpoint as a person reaches it: one of a cluster by a forwarded port, whose command is printed."""
    from shipway.remote.endpoints import by_hand, place_of

    place = place_of(endpoint["url"])
    if place is None:
        return endpoint
    say(f"{by_hand(*place)} &")
    path = endpoint["predict_url"].removeprefix(endpoint["url"])
    return {**endpoint, "predict_url": f"http://localhost:8080{path}"}


def curl_line(endpoint: Summary, instance: Any) -> str:
    """The command that asks the endpoint."""
    body = json.dumps({"instances": [instance]}, ensure_ascii=False)
    return f"curl -s {shlex.quote(endpoint['predict_url'])} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _next(summary: Summary) -> None:
    heading("Next")
    endpoint = summary["endpoint"]
    if endpoint:
        example = (summary["evaluation"] or {}).get("example") or "a row of yours"
        line = (summary["evaluation"] or {}).get("example_line")
        line = line or (example if isinstance(example, str) else json.dumps(example, ensure_ascii=False))
        say(f"shipway predict {endpoint['name']} {shlex.quote(line)}")
        say(curl_line(reachable(endpoint), example))
    elif summary["decision"] and summary["decision"]["decision"] != "blessed":
        say(f"shipway reports open {summary['run']} Decision")
    else:
        say(f"shipway {'logs' if is_there(summary) else 'runs show'} {summary['run']}")
    if not is_there(summary):
        say("shipway down    # stops what was started here")
