"""Who started a run, and with which idempotency key: what its description and the mark in its name say."""

from __future__ import annotations

import json
from typing import Any

from shipway.remote.once import new_mark

SUBMITTED = "Submitted with Shipway by "
KEYED = " for the key "
NAME = 255  # characters that Kubeflow keeps


def marked(readable: str, key: str = "") -> str:
    """A run's name with a mark behind it: its idempotency key, else one that no other run has."""
    mark = key or new_mark()
    return f"{readable[: NAME - len(mark) - 1]} {mark}"


def describe(started_by: str, key: str = "") -> str:
    """The run's description."""
    return SUBMITTED + started_by + (f"{KEYED}{key}" if key else "")


def read_starter(run: Any) -> tuple[str, str]:
    """Who started it (`schedule` for a recurring run), and its idempotency key; empty for none."""
    description = str(run.description or "")
    if run.recurring_run_id:
        return "schedule", ""
    if not description.startswith(SUBMITTED):
        return "the UI or another client", ""
    said = description.removeprefix(SUBMITTED)
    by, _, key = said.rpartition(KEYED) if KEYED in said else (said, "", "")
    # Whoever clones it in the UI gets the description with it, under another name.
    is_its_own = str(run.display_name or "").endswith(f" {key}")
    return by, key if is_its_own else ""


def with_key(key: str) -> str:
    """The filter of runs that may have this key; Kubeflow compares without regard to capitals."""
    return json.dumps({"predicates": [{"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": f" {key}"}]})
