"""A sweep that Katib's own controller plays (`engine: katib`): the Experiment is applied, and its status read back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep.calls import value_text
from shipway.components.sweep.core import trial_limit_s
from shipway.components.sweep.space import Values
from shipway.components.sweep.spec import Parameter, Scalar, SweepSpec
from shipway.context import Context
from shipway.errors import JobFailed

if TYPE_CHECKING:
    from shipway.executors import Event, Executor, Handle, Manifest

SETTLE_S = 300.0  # of each round of trials, for pods to come and the collector to report


def play(
    spec: SweepSpec, manifest: Manifest, executor: Executor, on_start: Callable[[Handle], None] = lambda handle: None
) -> list[TrialRecord]:
    """Has the Experiment played to its end.

    Args:
        spec: What it was rendered from.
        manifest: The Experiment, with its name.
        executor: On a cluster Katib plays it, on this machine the process executor's stand-in.
        on_start: Told the handle, so that whoever owns the step can cancel it.

    Returns:
        On a cluster the best trial alone: the others are Katib's objects. Here all of them.

    Raises:
        JobFailed: it failed, or ended without a trial that has the objective's metric.
        NotFound: the cluster has no Katib.
    """
    from shipway.executors.outcomes import raise_for

    handle = executor.ensure(manifest)
    on_start(handle)
    raise_for(executor.follow(handle, on_event=_tell, deadline_s=deadline_s(spec)), handle)
    status = getattr(executor, "status", None)
    return [best_trial(spec, status(handle))] if status is not None else _played_here(handle)


def deadline_s(spec: SweepSpec) -> float:
    """Seconds for all rounds of trials: a collector may hang when its trial has ended, and Katib has no limit of its
    own."""
    rounds = math.ceil((spec.maxTrialCount + spec.maxFailedTrialCount) / spec.parallelTrialCount)
    return rounds * ((trial_limit_s(spec) or 3600.0) + SETTLE_S)


def best_trial(spec: SweepSpec, status: Mapping[str, Any]) -> TrialRecord:
    """The optimal trial of an Experiment's status, with values as the sweep's parameters have them.

    Raises:
        JobFailed: the status names none.
    """
    optimal = status.get("currentOptimalTrial") or {}
    assigned = {each["name"]: each["value"] for each in optimal.get("parameterAssignments") or []}
    reported = {each["name"]: each for each in (optimal.get("observation") or {}).get("metrics") or []}
    objective = spec.objective.objectiveMetricName
    metrics = {
        name: value for name, each in reported.items() if (value := _number(each.get(spec.objective.strategy(name))))
        is not None
    }  # fmt: skip
    if not assigned or objective not in metrics:
        counts = {name: status[name] for name in ("trials", "trialsSucceeded", "trialsFailed",
                                                  "trialMetricsUnavailable") if name in status}  # fmt: skip
        raise JobFailed(
            f"sweep: Katib ended without a best trial for {objective!r} ({counts}); look at a trial's log: each must "
            f"print a line {objective}=<number>"
        )
    params: Values = {parameter.name: typed(parameter, assigned[parameter.name]) for parameter in spec.parameters}
    return TrialRecord(
        number=0, state="Succeeded", params=dict(params), metrics=metrics, job=optimal.get("bestTrialName", "")
    )


def typed(parameter: Parameter, text: str) -> Scalar:
    """A parameter's value from Katib's text."""
    if parameter.feasibleSpace.list is not None:
        same = [value for value in parameter.feasibleSpace.list if value_text(value) == text]
        if same:
            return same[0]
    if parameter.parameterType == "categorical":
        return text
    number = float(text)
    return int(number) if parameter.parameterType == "int" or (
        parameter.parameterType == "discrete" and number.is_integer()
    ) else number  # fmt: skip


def _played_here(handle: Handle) -> list[TrialRecord]:
    """What the process executor's stand-in for Katib wrote down."""
    from shipway.storage import open_folder

    folder = open_folder(Context.current().uri("sweeps", handle.name))
    return SweepRecord.from_json(folder.get("record.json"), where=f"sweeps/{handle.name}/record.json").trials


def _number(text: Any) -> float | None:
    """A metric's value; Katib writes `unavailable` where there is none."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _tell(event: Event) -> None:
    """The Experiment's life for whoever reads the step's log."""
    print(f"{event.kind}: {event.message}", flush=True)
