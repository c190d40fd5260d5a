"""How a run of Kubeflow ended: one rule over all that says something about it (the table in docs/kubeflow.md).

The notify step asks from inside, with what it is told and its Workflow; whoever looks from outside asks with Kubeflow's
state and history, and with what the notify step wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from shipway.artifacts import StepError, StepRecord
from shipway.artifacts.records import StepState
from shipway.dag import Place

Stop = Literal["cancelled", "deadline", "none", "unknown"]
STATES = {
    "PENDING": "Pending",
    "RUNNING": "Running",
    "SUCCEEDED": "Succeeded",
    "COMPLETE": "Succeeded",
    "SKIPPED": "Skipped",
    "FAILED": "Failed",
    "CANCELING": "Cancelling",
    "CANCELED": "Cancelled",
    "PAUSED": "Paused",
}
ENDED = ("Succeeded", "Failed", "Cancelled", "Skipped")
LOST = "ended without a record of its own end"


@dataclass(frozen=True)
class Sources:
    """What is known of a run's end.

    Attributes:
        state: Kubeflow's; in the notify step, for which Kubeflow's is still RUNNING, that of the tasks before it.
        stop: What ended the Workflow from outside, as the Workflow itself or the run's history of states tells it.
        noted: The state that the notify step wrote into `run.json`, if it ran in this attempt; empty otherwise.
    """

    state: str
    stop: Stop = "unknown"
    noted: str = ""


def state_of(sources: Sources) -> str:
    """Pending, Running, Cancelling, Succeeded, Failed, Cancelled, Skipped or Paused.

    Kubeflow's states are true as they are but for FAILED, its one word for a failure, a cancel and a deadline: a cancel
    is known by what ended the Workflow, else by what the notify step saw of it.
    """
    state = STATES.get(sources.state.upper(), "Pending")
    if state == "Failed" and "Cancelled" in (sources.stop.capitalize(), sources.noted):
        return "Cancelled"
    return state


def stop_of(workflow: Mapping[str, Any] | None, now: datetime) -> Stop:
    """What ended a Workflow from outside: Kubeflow cancels by setting its deadline to 0 seconds."""
    if workflow is None:
        return "unknown"
    deadline_s = (workflow.get("spec") or {}).get("activeDeadlineSeconds")
    if deadline_s is None:
        return "none"
    if int(deadline_s) == 0:
        return "cancelled"
    began = str((workflow.get("status") or {}).get("startedAt") or "")
    return "deadline" if began and (now - _moment(began)).total_seconds() >= int(deadline_s) else "none"


def handled_state(workflow: Mapping[str, Any] | None) -> str:
    """Phase of the tasks that the exit handler waits for: their node has the handler's as `<its name>.onExit`."""
    nodes = list(_nodes(workflow))
    names = {str(node.get("name")): str(node.get("phase") or "") for node in nodes}
    return next((names[name.removesuffix(".onExit")] for name in names if _is_handled(name, names)), "")


def _is_handled(name: str, names: Mapping[str, str]) -> bool:
    return name.endswith(".onExit") and name.removesuffix(".onExit") in names


def reasons(workflow: Mapping[str, Any] | None) -> dict[str, str]:
    """Step -> what the Workflow says of its container's end, `OOMKilled (exit code 137)`; the last attempt's."""
    messages: dict[str, str] = {}
    for node in sorted(_nodes(workflow), key=lambda node: str(node.get("finishedAt") or "")):
        step = Place.of_node(str(node.get("name") or ""))
        if step and node.get("type") == "Pod" and node.get("phase") in ("Failed", "Error") and node.get("message"):
            messages[step.name] = str(node["message"])
    return messages


def _nodes(workflow: Mapping[str, Any] | None) -> Iterable[Mapping[str, Any]]:
    """Empty where there are so many that Argo keeps them compressed, or elsewhere."""
    nodes: Mapping[str, Mapping[str, Any]] = ((workflow or {}).get("status") or {}).get("nodes") or {}
    return nodes.values()


def settle(step: StepRecord, run_state: str, stop: Stop, reason: str = "") -> StepRecord:
    """A step that has not told its end, in a run that has ended.

    Args:
        step: Its record says Running: its pod is gone.
        run_state: How the run ended.
        stop: What ended the Workflow.
        reason: What the Workflow says of its pod, `OOMKilled (exit code 137)`.
    """
    state: StepState = (
        "Succeeded" if run_state == "Succeeded" else "Cancelled" if run_state == "Cancelled" else "Failed"
    )
    error = None if state == "Succeeded" else step.error or lost(stop, reason)
    parts = [settle(part, run_state, stop, reason) if part.state == "Running" else part for part in step.parts]
    return step.model_copy(update={"state": state, "error": error, "parts": parts})


def lost(stop: Stop, reason: str = "") -> StepError:
    """Why a step left no word of its end, as far as it is known."""
    if stop == "cancelled":
        return StepError(kind="Cancelled", message="the run was cancelled")
    if stop == "deadline":
        return StepError(kind="Deadline", message="the run's deadline had passed")
    may_be = "out of memory, evicted, past its time limit, or its pod never started"
    if stop == "unknown":
        may_be += "; or the run was cancelled"
    return StepError(kind="Lost", message=f"{LOST}: {reason or may_be}")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
