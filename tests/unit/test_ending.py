"""The one rule of a run's end, source by source, and what a Workflow tells of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shipway.ending import Sources, Stop, handled_state, reasons, state_of, stop_of

NOW = datetime(2026, 11, 25, 12, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sources", "state"),
    [
        (Sources("SUCCEEDED", "cancelled", "Failed"), "Succeeded"),
        (Sources("RUNNING", "cancelled"), "Running"),
        (Sources("CANCELING"), "Cancelling"),
        (Sources("FAILED", "cancelled", "Failed"), "Cancelled"),
        (Sources("FAILED", "unknown", "Cancelled"), "Cancelled"),
        (Sources("FAILED", "deadline"), "Failed"),
        (Sources("FAILED"), "Failed"),
        (Sources(""), "Pending"),
    ],
)
def test_one_rule_says_how_a_run_ended(sources: Sources, state: str) -> None:
    assert state_of(sources) == state


def workflow(deadline_s: int | None, nodes: dict[str, Any] | None = None) -> dict[str, Any]:
    status = {"startedAt": "2026-11-25T12:00:00Z", "nodes": nodes or {}}
    return {"spec": {} if deadline_s is None else {"activeDeadlineSeconds": deadline_s}, "status": status}


@pytest.mark.parametrize(
    ("found", "stop"),
    [
        (None, "unknown"),
        (workflow(None), "none"),
        (workflow(0), "cancelled"),
        (workflow(600), "deadline"),
        (workflow(601), "none"),
    ],
)
def test_a_workflow_tells_a_cancel_and_a_deadline(found: dict[str, Any] | None, stop: Stop) -> None:
    assert stop_of(found, NOW) == stop


def test_a_workflow_knows_why_a_pod_ended_and_how_the_handled_tasks_did() -> None:
    nodes = {
        "1": {"name": "w.root.exit-handler-1", "type": "DAG", "phase": "Failed"},
        "2": {"name": "w.root.exit-handler-1.onExit", "type": "DAG", "phase": "Running"},
        "3": {"name": "w.root.exit-handler-1.job.executor(0)", "type": "Pod", "phase": "Failed",
              "message": "OOMKilled (exit code 137)"},
    }  # fmt: skip
    assert handled_state(workflow(None, nodes)) == "Failed"
    assert reasons(workflow(None, nodes)) == {"job": "OOMKilled (exit code 137)"}
    assert (handled_state(None), reasons(None)) == ("", {})
