"""Trials in words and as a record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shipway import step_progress
from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep import core
from shipway.components.sweep.budget import account_of
from shipway.components.sweep.ledger import Request, Status
from shipway.components.sweep.rungs import Rungs, reports_of
from shipway.components.sweep.spec import SweepSpec
from shipway.pages import numbers


def make_record(
    spec: SweepSpec,
    trials: list[TrialRecord],
    dataset_fingerprint: str,
    first: Mapping[str, Any],
    importance: Mapping[str, float] | None = None,
    ended_by: str = "",
    held_s: float | None = None,
) -> SweepRecord:
    """The record of a sweep that has ended.

    Args:
        spec: The sweep.
        trials: All of them, in order of numbers.
        dataset_fingerprint: What was trained on.
        first: The defaults: best where no trial was worth running, or none did clearly better.
        importance: Of each parameter.
        ended_by: How the budget or a person ended it before its own end.
        held_s: Seconds for which runners were held in all; None: for these trials.
    """
    best = core.best_trial(spec.objective, trials, first)
    held_s = sum(trial.held_s for trial in trials) if held_s is None else held_s
    return SweepRecord(
        name=spec.training.name if spec.training else "",
        objective=spec.objective.objectiveMetricName,
        direction=spec.objective.type,
        algorithm=spec.algorithm.algorithmName,
        best_trial=best.number if best else None,
        best_value=core.final_value(spec.objective, best.metrics, best.history) if best else None,
        best_params=dict(best.params) if best else dict(first),
        defaults=dict(first),
        trials=trials,
        importance=dict(importance or {}),
        # What trials cost that Katib ran, we don't know.
        account=account_of(spec).closed(held_s, ended_by) if held_s else None,
        dataset_fingerprint=dataset_fingerprint,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def record_of(spec: SweepSpec, request: Request, status: Status, rungs: Rungs | None = None) -> TrialRecord:
    """What an attempt that is over came to, those of the same trial before it included."""
    objective = spec.objective.objectiveMetricName
    history = [
        [float(step), value] for step, metrics in status.reports if (value := metrics.get(objective)) is not None
    ]
    reported = status.metrics or (status.reports[-1][1] if status.reports else {})
    record = TrialRecord(
        number=request.number,
        state=status.state,
        params=dict(request.params),
        metrics={name: value for name, value in reported.items() if value is not None},
        history=core.thinned(history),
        seconds=round(request.used_s + status.seconds, 4),
        held_s=round(request.held_s + status.held_s, 4),
        attempts=request.attempt,
        seed=core.trial_training(spec, {}).seed,
        job=request.runner,
        error=status.error,
    )
    if rungs is not None:
        values, is_over = [value for _, value in history], record.state == "Succeeded"
        record.rungs = rungs.values(record.number, values, is_over, spec.objective)
    if record.state == "EarlyStopped" and not history:
        record.state = "Failed"
    if record.state == "Succeeded" and reported.get(objective, 0.0) is None:
        record.state, record.error = "Failed", f"the trial's {objective} is not a finite number"
    elif record.state == "Succeeded":
        try:
            core.final_value(spec.objective, record.metrics, record.history)
        except ValueError as error:
            record.state, record.error = "Failed", str(error)
    return record


def describe_params(params: Mapping[str, Any]) -> str:
    """`learning_rate=0.002, dropout=0.5`."""
    return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


def describe_trial(record: TrialRecord, spec: SweepSpec) -> str:
    """One line on a trial that ended."""
    metric = spec.objective.objectiveMetricName
    value = record.metrics.get(metric)
    shown = record.error if record.state in ("Failed", "Killed") or value is None else f"{metric}={value:.4f}"
    return f"trial {record.number} {record.state} {shown} in {record.seconds:.1f} s ({describe_params(record.params)})"


def why_it_ended(trial: TrialRecord) -> str:
    """Why a trial was not trained to its end; empty where it was."""
    if trial.error:
        return trial.error
    if trial.state == "EarlyStopped" and trial.rungs:
        reports = f"{len(trial.history)} report{'s' if len(trial.history) != 1 else ''}"
        return f"paused after {reports} and was not promoted"
    if trial.state == "EarlyStopped":
        return f"fell behind others after {len(trial.history)} reports"
    return "paused, and may go on" if trial.state == "Paused" else ""


def tell_progress(spec: SweepSpec, finished: Mapping[int, TrialRecord], reports: Mapping[int, int]) -> None:
    """Tells the step: trials that ended, and of the others what they have reported of what a training reports.

    Args:
        spec: The sweep.
        finished: Trials that are over.
        reports: Trial -> how often it has reported.
    """
    expected = (reports_of(spec.training) or 1) if spec.training and not spec.function else 1
    at_work = [seen for number, seen in reports.items() if number not in finished]
    done = len(finished) + sum(min(seen / expected, 0.99) for seen in at_work)
    best = core.best_trial(spec.objective, finished.values())
    note = ""
    if best is not None:
        value = numbers.number(core.final_value(spec.objective, best.metrics, best.history))
        note = f"best {spec.objective.objectiveMetricName} {value}"
    step_progress.tell(done, max(core.most_trials(spec), 1), "trials", note)
