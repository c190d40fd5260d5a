"""A sweep's report: what won, how the search went, which parameters mattered, every trial."""

from __future__ import annotations

from typing import Any

from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep.budget import HOUR
from shipway.components.sweep.core import is_same_choice
from shipway.components.sweep.summary import why_it_ended
from shipway.pages import Report, bars, duration, lines, number, parallel_coordinates, percent
from shipway.storage import open_folder

_ENDED = {
    "EarlyStopped": "were given up early",
    "Failed": "failed",
    "Killed": "were ended",
    "Paused": "are paused and may go on",
}
_COSTS = {"gpu_hours": "GPU hours", "cpu_hours": "CPU hours", "money": "money"}
MOST_TRIALS = 400  # drawn and listed; a report stays below 1 MB


def sweep_report(record: SweepRecord) -> Report:
    """The report as blocks."""
    name = f" of {record.name}" if record.name else ""
    of = " on the eval split" if record.dataset_fingerprint else ""  # what a function measured, only it knows
    page = Report(f"Sweep{name}", f"{record.algorithm}, {record.direction} {record.objective}{of}")
    if not record.trials:
        return page.callout("info", "No search", "The training's own parameters are used as they are.").facts(
            record.best_params, caption="Parameters"
        )
    _head(page, record)
    page.section("Optimisation history").chart(_history(record))
    if record.importance:
        page.section("Which parameters mattered").chart(
            bars(record.importance, format=percent),
            "Share of the objective's variance that each parameter explains (fANOVA) among the finished trials.",
        )
    rows = [{**t.params, record.objective: _value(t, record)} for t in _shown(record)]
    page.section("Parallel coordinates").chart(
        parallel_coordinates(
            [row for row in rows if row[record.objective] is not None],
            list(record.best_params),
            record.objective,
            maximize=record.direction == "maximize",
        )
    )
    _best_so_far(page, record)
    _costs(page, record)
    _trials(page, record)
    return page


def publish(record: SweepRecord, uri: str) -> Report:
    """Puts the record and its report into the sweep's folder; gives the report."""
    page, store = sweep_report(record), open_folder(uri)
    store.put("report.html", page.render().encode())
    store.put("record.json", record.to_json().encode())
    return page


def _head(page: Report, record: SweepRecord) -> None:
    finished = [trial for trial in record.trials if trial.state == "Succeeded"]
    states = {state: sum(t.state == state for t in record.trials) for state in _ENDED}
    top = _ahead(record) if record.defaults else None
    taken = f"Best {record.objective}" if top is None else f"{record.objective} of the defaults"
    figures: dict[str, object] = {
        taken: (number(record.best_value), f"trial {record.best_trial}"),
        "Trials": (len(record.trials), f"{len(finished)} finished"),
        "Time in trials": duration(sum(trial.seconds for trial in record.trials)),
    }
    default = next((trial for trial in finished if is_same_choice(trial.params, record.defaults)), None)
    first = _value(default, record) if default else None
    if top is None and default and first is not None and record.best_value is not None:
        figures["Over the defaults"] = (
            f"{record.best_value - first:+.4g}",
            f"trial {default.number} had {number(first)}",
        )
    page.tiles(figures)
    if top is not None:
        page.callout(
            "info",
            "The defaults are kept",
            f"Trial {top[0]} had {number(top[1])}: ahead, but by no more than one standard error.",
        )
    for state, count in states.items():
        if count:
            words, tone = _ENDED[state], "warn" if state in ("Failed", "Killed") else "info"
            page.callout(tone, f"{count} of {len(record.trials)} {words}")  # type: ignore[arg-type]
    for node, trials in record.avoided.items():
        names = ", ".join(str(number) for number in trials)
        page.callout("warn", f"Node {node} was avoided", f"The runners of trials {names} died there.")
    if record.account and record.account.ended_by:
        page.callout("info", "Ended early", f"{_sentence(record.account.ended_by)}. What was finished by then counts.")
    if record.best_params:
        page.facts(record.best_params, caption="Best parameters" if top is None else "Parameters")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _history(record: SweepRecord) -> Any:
    groups: dict[str, list[tuple[float, float]]] = {}
    for trial in _shown(record):
        value = _value(trial, record)
        if value is not None:
            groups.setdefault({"Succeeded": "finished", "EarlyStopped": "stopped early"}[trial.state], []).append(
                (trial.number, value)
            )
    best = [(float(trial), value) for trial, value in _climb(record)]
    if best and record.trials[-1].number > best[-1][0]:
        best.append((float(record.trials[-1].number), best[-1][1]))
    return lines({"best so far": best}, points=groups, step=True, x_label="trial", y_label=record.objective)


def _best_so_far(page: Report, record: SweepRecord) -> None:
    by_number = {trial.number: trial for trial in record.trials}
    rows, last, spent = [], None, 0.0
    for trial, value in _climb(record):
        spent = sum(t.seconds for t in record.trials if t.number <= trial)
        if value != last:
            rows.append([trial, value, duration(spent), _text(by_number[trial].params)])
            last = value
    page.section("Best so far").table(["trial", record.objective, "time in trials by then", "parameters"], rows)


def _costs(page: Report, record: SweepRecord) -> None:
    """What all trials cost, by how they ended, and in sum."""
    account = record.account
    if account is None:
        return
    names = [name for name in _COSTS if name in account.spent]
    rows: list[list[Any]] = []
    for state in dict.fromkeys(trial.state for trial in record.trials):
        trials = [trial for trial in record.trials if trial.state == state]
        held_s = sum(trial.held_s for trial in trials)
        shares = [account.spent[name] * held_s / max(_held_s(record), 1e-9) for name in names]
        rows.append([state, len(trials), (duration(held_s), held_s), *shares])
    lost_s = _held_s(record) - sum(trial.held_s for trial in record.trials)
    if lost_s > 1:  # a stopped sweep's attempts, which have no record, and those of an engine that died
        shares = [account.spent[name] * lost_s / _held_s(record) for name in names]
        rows.append(["ended with the sweep", "", (duration(lost_s), lost_s), *shares])
    rows.append(["all", len(record.trials), (duration(_held_s(record)), _held_s(record)), *account.spent.values()])
    has = " and ".join(
        f"{number(amount)} {what}{'s' if amount != 1 else ''}"
        for amount, what in ((account.gpus, "GPU"), (account.cores, "core")) if amount
    )  # fmt: skip
    limits = ", ".join(
        f"{number(limit)} {_COSTS.get(name, name)}" for name, limit in account.budget.items() if name[:5] != "price"
    )
    price = f", a trial's hour at {number(account.price_per_hour)}" if account.price_per_hour else ""
    columns = ["state", "trials", "held", *[_COSTS[name] for name in names]]
    page.section(
        "What it cost",
        f"A trial has {has}. Held is the time for which a runner was there for it, its start included."
        + (f" Budget: {limits}{price}." if limits else ""),
    ).table(columns, rows, sortable=False)


def _held_s(record: SweepRecord) -> float:
    """Seconds for which runners were held in all."""
    rate = _rate(record)
    return record.account.spent.get(_counted(record), 0.0) * HOUR / rate if record.account and rate else 0.0


def _trials(page: Report, record: SweepRecord) -> None:
    names = list(record.best_params) or sorted({name for trial in record.trials for name in trial.params})
    others = sorted({m for t in record.trials for m in t.metrics if m != record.objective})[:4]
    rows = [
        [
            trial.number,
            trial.state,
            _value(trial, record),
            *[trial.metrics.get(name) for name in others],
            *[trial.params.get(name) for name in names],
            trial.seconds,
            *([trial.held_s / HOUR * rate] if (rate := _rate(record)) else []),
            why_it_ended(trial),
        ]
        for trial in _shown(record)
    ]
    tones: list[Any] = [
        "good" if t.number == record.best_trial else "bad" if t.state == "Failed" else None for t in _shown(record)
    ]
    cost = [_COSTS[_counted(record)]] if _rate(record) else []
    columns = ["trial", "state", record.objective, *others, *names, "seconds", *cost, "why"]
    page.section("Every trial").table(columns, rows, tones=tones, max_rows=MOST_TRIALS)


def _counted(record: SweepRecord) -> str:
    """GPU hours where trials had GPUs, else CPU hours."""
    return "gpu_hours" if record.account and record.account.gpus else "cpu_hours"


def _rate(record: SweepRecord) -> float:
    """Of what `_counted` names, an hour of a trial; 0 where there is no account."""
    return (record.account.gpus or record.account.cores) if record.account else 0.0


def _shown(record: SweepRecord) -> list[TrialRecord]:
    """At most `MOST_TRIALS`: all up to there, the best beyond."""
    if len(record.trials) <= MOST_TRIALS:
        return record.trials
    best = [trial for trial in record.trials[MOST_TRIALS:] if trial.number == record.best_trial]
    return record.trials[:MOST_TRIALS] + best


def _climb(record: SweepRecord) -> list[tuple[int, float]]:
    """(trial, best value up to it)."""
    sign = 1 if record.direction == "maximize" else -1
    points: list[tuple[int, float]] = []
    for trial in record.trials:
        value = _value(trial, record)
        if trial.state == "Succeeded" and value is not None:
            points.append((trial.number, value if not points else sign * max(sign * value, sign * points[-1][1])))
    return points


def _ahead(record: SweepRecord) -> tuple[int, float] | None:
    """(trial, value) of the one that did better than the one that was taken."""
    climb = _climb(record)
    sign = 1 if record.direction == "maximize" else -1
    if not climb or record.best_value is None or sign * (climb[-1][1] - record.best_value) <= 0:
        return None
    return next(point for point in climb if point[1] == climb[-1][1])


def _value(trial: TrialRecord, record: SweepRecord) -> float | None:
    """The objective: what the trial ended with, or its last report where it was stopped early."""
    if trial.state == "EarlyStopped":
        return trial.history[-1][1] if trial.history else None
    if trial.state != "Succeeded":
        return None
    value = trial.metrics.get(record.objective)
    return value if value is not None else (trial.history[-1][1] if trial.history else None)


def _text(params: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in params.items())
