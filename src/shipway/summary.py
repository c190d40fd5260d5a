"""What a run came to, as one plain document: `run --json`, the closing screen and notify's report are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shipway import errors, redaction
from shipway.context import Context

if TYPE_CHECKING:
    from shipway.artifacts import DecisionRecord, EvaluationRecord, RunRecord, StepRecord, SweepRecord
    from shipway.runs import Run

# What a task does -> the names it has in pipelines: kfp names a task by its component's function.
ROLES: dict[str, tuple[str, ...]] = {
    "plan": ("train-and-deploy", "plan"),
    "dataset": ("dataset",),
    "sweep": ("katib", "sweep"),
    "train": ("job", "tfjob", "mpijob", "train"),
    "evaluate": ("model", "evaluate"),
    "gate": ("gate",),
    "register": ("register",),
    "deploy": ("kserve", "deploy"),
}


def step_of(steps: Sequence[StepRecord], role: str) -> StepRecord | None:
    """The step, or the part of one, that plays a role."""
    return next((piece for step in steps for piece in step.pieces if piece.task in ROLES[role]), None)


def names_of(task: str) -> tuple[str, ...]:
    """The names that a task has in pipelines and in its own record: its launch calls itself `train`, its task `job`."""
    return next(((role, *names) for role, names in ROLES.items() if task == role or task in names), (task,))


def fact(steps: Sequence[StepRecord], role: str, *names: str) -> Any:
    """The first of the named outputs that the role's step gave out."""
    step = step_of(steps, role)
    found = (step.outputs.get(name) for name in names) if step else iter(())
    return next((value for value in found if value is not None), None)


def summarise(run: Run) -> dict[str, Any]:
    """A finished run with what its artifacts say."""
    from shipway.artifacts import RunRecord

    record = run.record or RunRecord.model_validate(
        {"run": run.key, "pipeline": "", "state": run.state, "steps": list(run.steps.values())}
    )
    return build_summary(record, home=str(run.home), store=Context.current().store_uri)


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
        run, pipeline, name, state, seconds, error, steps, parameters (as given), best_parameters, sweep, evaluation
        (metrics in the task's order, baselines by name), decision, model, endpoint, reports, home; None for what did
        not come about.
    """
    from shipway.artifacts import DecisionRecord, EvaluationRecord, SweepRecord

    read = read or _read
    steps = record.steps
    evaluation = _artifact(read, EvaluationRecord, steps, "evaluate")
    decision = _artifact(read, DecisionRecord, steps, "gate")
    sweep = _artifact(read, SweepRecord, steps, "sweep")
    return {
        "run": record.run,
        "pipeline": record.pipeline,
        "name": record.name,
        "state": record.state,
        "seconds": record.seconds,
        "error": _error(record),
        "steps": [_step(piece, step) for step in steps for piece in step.pieces],
        "parameters": redaction.parameters(record.params),
        "best_parameters": dict(sweep.best_params) if sweep else (fact(steps, "sweep", "best_params", "best") or None),
        "sweep": _sweep(sweep),
        "evaluation": _evaluation(evaluation),
        "decision": _decision(decision, steps),
        "model": _model(record, steps),
        "endpoint": _endpoint(record, steps),
        "reports": {title: uri for step in steps for title, uri in step.reports.items()},
        "home": home,
        "store": store,
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


def _artifact(read: Callable[[Any, str], Any], kind: Any, steps: Sequence[StepRecord], role: str) -> Any:
    uri = fact(steps, role, "uri", "record")
    if not isinstance(uri, str) or "://" not in uri:
        return None
    try:
        return read(kind, uri if uri.endswith(".json") else f"{uri.rstrip('/')}/record.json")
    except errors.ShipwayError:  # the summary of a run must not fail on one artifact that was cleaned away
        return None


def _error(record: RunRecord) -> dict[str, Any] | None:
    if record.error is None:
        return None
    culprit = next((step.task for step in record.steps if step.state in ("Failed", "Cancelled")), None)
    told = record.error.model_dump(mode="json", exclude_none=True)
    return {"step": culprit, **told, "message": redaction.text(record.error.message)}


def _step(step: StepRecord, whole: StepRecord) -> dict[str, Any]:
    """A row for a step, or for a part of one, whose log is its whole's."""
    return {
        "task": step.task,
        "title": step.title or step.task,
        "state": step.state,
        "cached": step.state == "Cached",
        "seconds": step.seconds,
        "outputs": step.outputs,
        "log": whole.log,
        **({"error": redaction.text(step.error.message)} if step.error else {}),
    }


def _sweep(sweep: SweepRecord | None) -> dict[str, Any] | None:
    if sweep is None:
        return None
    states = [trial.state for trial in sweep.trials]
    return {
        "objective": sweep.objective,
        "best_value": sweep.best_value,
        "trials": len(states),
        "failed": states.count("Failed"),
        "stopped_early": states.count("EarlyStopped"),
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
        "uri": record.uri,
    }


def _decision(record: DecisionRecord | None, steps: Sequence[StepRecord]) -> dict[str, Any] | None:
    if record is not None:
        return {
            "decision": record.decision,
            "reason": record.reason,
            "champion_version": record.champion_version,
            "rules": [rule.model_dump(mode="json") for rule in record.rules],
        }
    decision = fact(steps, "gate", "decision")
    return None if decision is None else {"decision": decision, "reason": fact(steps, "gate", "reason") or ""}


def _model(record: RunRecord, steps: Sequence[StepRecord]) -> dict[str, Any] | None:
    version = fact(steps, "register", "version")
    if version is None:
        return None
    return {"name": fact(steps, "register", "name") or record.name, "version": int(version)}


def _endpoint(record: RunRecord, steps: Sequence[StepRecord]) -> dict[str, Any] | None:
    url = fact(steps, "deploy", "url")
    if not isinstance(url, str) or not url:
        return None
    name = str(fact(steps, "deploy", "endpoint", "name") or record.name)
    base = url.partition("/v1/")[0].rstrip("/")  # deploy gives out the address that predicts
    return {
        "name": name,
        "url": base,
        "predict_url": url if url.endswith(":predict") else f"{base}/v1/models/{name}:predict",
        "version": fact(steps, "deploy", "version"),
    }
