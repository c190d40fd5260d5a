"""What a run came to, as one plain document: `run --json`, the closing screen and notify's report are made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shipway import errors, redaction
from shipway.dag import distinct

if TYPE_CHECKING:
    from shipway.artifacts import DecisionRecord, EvaluationRecord, RunRecord, StepRecord, SweepRecord

METRICS = 2  # of an evaluation, in the lines of a list


def of_role(steps: Iterable[StepRecord], role: str) -> list[StepRecord]:
    """The steps, or parts of some, that play a role, the weightiest last.

    Several may play one: a loop of trainings, two evaluations. Where one has to speak for the run, it is the last
    outside of loops, and the last of all where all are in loops.
    """
    pieces = [piece for step in steps for piece in step.pieces if piece.role == role]
    return sorted(pieces, key=lambda piece: not piece.iteration)


def fact(steps: Iterable[StepRecord], role: str, *names: str) -> Any:
    """The first of the named outputs, of the weightiest step of that role that gave out any."""
    values = (piece.outputs.get(name) for piece in reversed(of_role(steps, role)) for name in names)
    return next((value for value in values if value is not None), None)


def reports_of(steps: Iterable[StepRecord]) -> dict[str, tuple[str, str]]:
    """Reports by title: step and URI; where several steps have one of that title, with the step's name behind it."""
    reports = [(title, step.name, uri) for step in steps for title, uri in step.reports.items()]
    often = Counter(title for title, _, _ in reports)
    return {title if often[title] == 1 else f"{title} ({name})": (name, uri) for title, name, uri in reports}


def measured(steps: Iterable[StepRecord]) -> dict[str, tuple[float, bool]]:
    """What evaluations measured first, by split and metric, `test_accuracy`: the value, and whether it is a share.

    Of several on one split it is the weightiest's.
    """
    figures: dict[str, tuple[float, bool]] = {}
    for step in of_role(steps, "evaluate"):
        metrics, split, shown = (step.outputs.get(key) for key in ("metrics", "split", "shown"))
        if isinstance(metrics, dict) and isinstance(shown, list) and split:
            for info in shown[:METRICS]:
                figures[f"{split}_{info['name']}"] = float(metrics[info["name"]]), bool(info["is_share"])
    return figures


def figures_of(steps: Iterable[StepRecord]) -> str:
    """The same for a person: `test accuracy 93.4 %, test macro f1 91.0 %`."""
    from shipway.pages.numbers import figure

    told = measured(steps).items()
    return ", ".join(f"{name.replace('_', ' ')} {figure(value, share)}" for name, (value, share) in told)


def model_of(record: RunRecord) -> dict[str, Any] | None:
    """Name and version of the model that the run registered."""
    return _weightiest(record, "register", _model)


def endpoint_of(record: RunRecord) -> dict[str, Any] | None:
    """Name, addresses and version of the endpoint that the run deployed to."""
    return _weightiest(record, "deploy", _endpoint)


def _weightiest(
    record: RunRecord, role: str, tell: Callable[[RunRecord, StepRecord], dict[str, Any] | None]
) -> dict[str, Any] | None:
    told = (tell(record, step) for step in reversed(of_role(record.steps, role)))
    return next((each for each in told if each is not None), None)


def build_summary(
    record: RunRecord, *, home: str = "", store: str = "", read: Callable[[Any, str], Any] | None = None
) -> dict[str, Any]:
    """The document.

    Args:
        record: The run, with its steps.
        home: Local state folder, where there is one.
        store: Root of object storage.
        read: (artifact class, URI) -> artifact or None; object storage by default.

    Returns:
        run, pipeline, name, state, seconds, started_by, idempotency_key, error, steps, parameters (as given),
        best_parameters, sweep, evaluation (metrics in the task's order, baselines by name), decision, model, endpoint,
        reports, home; None for what did not come about. Where several steps told a sweep, an evaluation and so on, it
        is the weightiest's, and `several` has all of them, `{"evaluation": [{"step": ..., "is_shown": ..., ...}]}`, in
        the order of the steps.
    """
    documents = _told(record, read or _read)
    shown = {kind: next(reversed(told.values()), None) for kind, told in documents.items()}
    sweep = shown["sweep"] or {}
    titles = distinct({piece.name: piece.label for step in record.steps for piece in step.pieces})
    return {
        "run": record.run,
        "pipeline": record.pipeline,
        "name": record.name,
        "state": record.state,
        "seconds": record.seconds,
        "started_by": record.started_by,
        "idempotency_key": record.idempotency_key,
        "error": _error(record),
        "steps": [_step(piece, step, titles[piece.name]) for step in record.steps for piece in step.pieces],
        "parameters": redaction.parameters(record.params),
        **shown,
        "best_parameters": sweep.get("best_parameters"),
        "sweep": sweep if "trials" in sweep else None,
        "several": {
            kind: [
                {"step": name, "title": title, "is_shown": told[name] is shown[kind], **told[name]}
                for name, title in titles.items()
                if name in told
            ]
            for kind, told in documents.items()
            if len(told) > 1
        },
        "reports": {title: uri for title, (_, uri) in reports_of(record.steps).items()},
        "home": home,
        "store": store,
    }


def _told(record: RunRecord, read: Callable[[Any, str], Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each kind what the steps told, by their names, the weightiest last."""
    from shipway.artifacts import DecisionRecord, EvaluationRecord, SweepRecord

    tellers: dict[str, tuple[str, Callable[[StepRecord], dict[str, Any] | None]]] = {
        "sweep": ("sweep", lambda step: _sweep(_artifact(read, SweepRecord, step), step)),
        "evaluation": ("evaluate", lambda step: _evaluation(_artifact(read, EvaluationRecord, step))),
        "decision": ("gate", lambda step: _decision(_artifact(read, DecisionRecord, step), step)),
        "model": ("register", lambda step: _model(record, step)),
        "endpoint": ("deploy", lambda step: _endpoint(record, step)),
    }
    return {
        kind: {step.name: told for step in of_role(record.steps, role) if (told := tell(step)) is not None}
        for kind, (role, tell) in tellers.items()
    }


def exit_code(summary: Mapping[str, Any]) -> int:
    """0, or the exit code of the run's first error: 2 for the user's mistakes, 130 when it was stopped."""
    if summary["state"] == "Succeeded":
        return 0
    if summary["state"] == "Cancelled":
        return errors.Cancelled.exit_code
    return 2 if errors.exit_code_of(str((summary["error"] or {}).get("kind", ""))) == 2 else 1


def _read(kind: Any, uri: str) -> Any:
    from shipway.storage import read_artifact

    return read_artifact(kind, uri)


def _artifact(read: Callable[[Any, str], Any], kind: Any, step: StepRecord) -> Any:
    uri = step.outputs.get("uri") or step.outputs.get("record")
    if not isinstance(uri, str) or "://" not in uri:
        return None
    try:
        return read(kind, uri if uri.endswith(".json") else f"{uri.rstrip('/')}/record.json")
    except errors.ShipwayError:  # the summary of a run must not fail on one artifact that was cleaned away
        return None


def _error(record: RunRecord) -> dict[str, Any] | None:
    if record.error is None:
        return None
    culprit = next((step.name for step in record.steps if step.state in ("Failed", "Cancelled")), None)
    told = record.error.model_dump(mode="json", exclude_none=True)
    return {"step": culprit, **told, "message": redaction.text(record.error.message)}


def _step(step: StepRecord, whole: StepRecord, title: str) -> dict[str, Any]:
    """A row for a step, or for a part of one, whose log is its whole's."""
    return {
        "step": step.name,
        "role": step.role,
        "task": step.task,
        "iteration": step.iteration,
        "title": title,
        "state": step.state,
        "cached": step.state == "Cached",
        "seconds": step.seconds,
        "outputs": step.outputs,
        "log": whole.log,
        "progress": {**step.progress.model_dump(mode="json"), "text": step.progress.text} if step.progress else None,
        **({"error": redaction.text(step.error.message)} if step.error else {}),
    }


def _sweep(sweep: SweepRecord | None, step: StepRecord) -> dict[str, Any] | None:
    if sweep is None:
        best = step.outputs.get("best")
        return {"best_parameters": best} if best else None
    states = [trial.state for trial in sweep.trials]
    return {
        "best_parameters": dict(sweep.best_params),
        "objective": sweep.objective,
        "best_value": sweep.best_value,
        "trials": len(states),
        "failed": states.count("Failed"),
        "stopped_early": states.count("EarlyStopped"),
        "ended_by": sweep.account.ended_by if sweep.account else "",
    }


def _evaluation(record: EvaluationRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "task": record.task,
        "split": record.split,
        "rows": record.rows,
        "left_out": record.about_left_out,
        "metrics": {info.name: record.metrics[info.name] for info in record.shown},
        "shown": [info.model_dump(mode="json") for info in record.shown],
        "intervals": {name: [bounds.low, bounds.high] for name, bounds in record.intervals.items()},
        "baselines": {
            baseline.name: baseline.model_dump(mode="json", exclude={"name"}) for baseline in record.baselines
        },
        "headline": record.headline,
        "facts": record.facts,
        "example": record.example,
        "example_line": record.example_line,
        "uri": record.uri,
    }


def _decision(record: DecisionRecord | None, step: StepRecord) -> dict[str, Any] | None:
    if record is not None:
        return {
            "decision": record.decision,
            "reason": record.reason,
            "champion_version": record.champion_version,
            "rules": [rule.model_dump(mode="json") for rule in record.rules],
        }
    decision = step.outputs.get("decision")
    return None if decision is None else {"decision": decision, "reason": step.outputs.get("reason") or ""}


def _model(record: RunRecord, step: StepRecord) -> dict[str, Any] | None:
    version = step.outputs.get("version")
    if version is None:
        return None
    return {"name": step.outputs.get("name") or record.name, "version": int(str(version))}


def _endpoint(record: RunRecord, step: StepRecord) -> dict[str, Any] | None:
    url = step.outputs.get("url")
    if not isinstance(url, str) or not url:
        return None
    name = str(step.outputs.get("endpoint") or step.outputs.get("name") or record.name)
    base = url.partition("/v1/")[0].rstrip("/")  # deploy gives out the address that predicts
    return {
        "name": name,
        "url": base,
        "predict_url": url if url.endswith(":predict") else f"{base}/v1/models/{name}:predict",
        "version": step.outputs.get("version"),
    }


def all_told(summary: Mapping[str, Any]) -> list[tuple[str, list[str], list[tuple[Any, ...]]]]:
    """What several steps told, as tables: title, columns, rows; empty where each kind was told once."""
    from shipway.pages.numbers import number

    cells: dict[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
        "sweep": ("searches", lambda s: {"best": s.get("best_value"), "parameters": _listed(s["best_parameters"])}),
        "evaluation": ("evaluations", lambda e: {
            "split": e["split"], "rows": number(e["rows"]), "measured": _measured(e),
        }),
        "decision": ("decisions", lambda d: {"decision": d["decision"], "reason": d["reason"]}),
        "model": ("models", lambda m: {"model": m["name"], "version": m["version"]}),
        "endpoint": ("endpoints", lambda e: {"endpoint": e["name"], "address": e["url"]}),
    }  # fmt: skip
    tables = []
    for kind, several in (summary.get("several") or {}).items():
        noun, read = cells[kind]
        shown = next(each["title"] for each in several if each["is_shown"])
        rows = [(each["title"], *read(each).values()) for each in several]
        title = f"All {len(several)} {noun}; where one speaks for the run, it is that of {shown}"
        tables.append((title, ["step", *read(several[0])], rows))
    return tables


def _measured(evaluation: Mapping[str, Any]) -> str:
    """The task's first two metrics."""
    from shipway.pages.numbers import figure, inline

    metrics, shown = evaluation["metrics"], evaluation["shown"][:2]
    return ", ".join(f"{inline(info['title'])} {figure(metrics[info['name']], info['is_share'])}" for info in shown)


def _listed(parameters: Mapping[str, Any]) -> str:
    from shipway.pages.numbers import number

    return ", ".join(f"{name} = {number(value)}" for name, value in parameters.items())
