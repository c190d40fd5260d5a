"""A stored sweep in words and as a document, for the commands that show it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shipway.cli.console import shown_params

if TYPE_CHECKING:
    from shipway.components.sweep.stored import StoredSweep


def document_of(sweep: StoredSweep) -> dict[str, Any]:
    """All but its trials, for scripts."""
    from shipway.components.sweep.core import most_trials

    record = sweep.record
    return {
        "sweep": sweep.name,
        "uri": sweep.uri,
        "model": record.name,
        "state": sweep.state,
        "why": sweep.why,
        "algorithm": record.algorithm,
        "objective": f"{record.direction} {record.objective}",
        "space": {each.name: space_of(each) for each in sweep.spec.parameters},
        "trials": len(record.trials),
        "of": most_trials(sweep.spec),
        "best": record.best_value,
        "best_trial": record.best_trial,
        "best_params": dict(record.best_params),
        "cost": cost_of(sweep, sum(trial.held_s for trial in record.trials)),
        "account": record.account,
        "dataset_fingerprint": sweep.dataset,
        "changed_at": time_of(sweep.changed),
    }


def facts_of(sweep: StoredSweep) -> list[tuple[str, Any]]:
    """Names and values, for people."""
    document, record = document_of(sweep), sweep.record
    states = [trial.state for trial in record.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return [
        ("model", record.name),
        ("searches", f"{document['objective']}, {record.algorithm}"),
        ("trials", f"{len(states)} of {document['of']}" + (f": {counts}" if counts else "")),
        (
            "best",
            f"{text_of(record.best_value)} (trial {record.best_trial})" if record.best_trial is not None else "none",
        ),
        ("parameters", shown_params({name: text_of(value) for name, value in record.best_params.items()})),
        ("cost", document["cost"]),
        ("dataset", sweep.dataset),
        ("files", sweep.uri),
    ]


def next_command(sweep: StoredSweep) -> str:
    """What one types next."""
    verb = {"Running": "stop", "Ended": "best"}.get(sweep.state, "resume")
    return f"shipway sweeps {verb} {sweep.name}"


def value_of(sweep: StoredSweep, trial: Any) -> float | None:
    """A trial's objective: what it ended with, or its last report."""
    value = trial.metrics.get(sweep.record.objective)
    return value if value is not None else (trial.history[-1][1] if trial.history else None)


def best_after(sweep: StoredSweep, trials: int) -> float | None:
    """The best of so many first trials."""
    return next((value for number, value in reversed(sweep.climb()) if number < trials), None)


def cost_of(sweep: StoredSweep, held_s: float) -> str:
    """GPU hours, CPU hours or money, as the sweep counts them."""
    from shipway.components.sweep.budget import account_of

    return account_of(sweep.spec).amount(held_s) if held_s else ""


def space_of(parameter: Any) -> str:
    """The values that a parameter may take."""
    space = parameter.feasibleSpace
    if space.list is not None:
        return ", ".join(str(value) for value in space.list)
    log = ", by order of magnitude" if space.distribution == "logUniform" else ""
    step = f" in steps of {space.step:g}" if space.step else ""
    return f"{space.min:g} to {space.max:g}{step}{log}"


def text_of(value: Any) -> str:
    """A number with four digits; nothing for None."""
    from shipway.pages.numbers import number

    return "" if value is None else number(value)


def time_of(seconds: float) -> str:
    """ISO 8601, of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
