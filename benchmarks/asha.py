"""How long ASHA takes to get as far as random search gets at its end, on a table of real trainings of 27 epochs.

Time is counted in trained epochs, as somebody waits for them who runs one trial at a time: what random search spends on
20 whole trainings. Both are played by the engine that plays every sweep; a trial that is promoted goes on from its
checkpoint. Regret is how far the best training that was finished stands below the best of the whole table, in points of
accuracy on the eval split.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("asha_table.json")
SEEDS = 30
BUDGET_TRAININGS = 20
GOAL = 0.5  # our epochs over random search's
METRIC = "val_accuracy"


class Table:
    """Every configuration's accuracy on the eval split after each epoch."""

    def __init__(self, path: Path = TABLE) -> None:
        raw = json.loads(path.read_text(encoding="utf-8"))
        self.space: dict[str, list[Any]] = raw["space"]
        self.epochs, rows = int(raw["epochs"]), int(raw["eval_rows"])
        points = itertools.product(*self.space.values())
        self.curves = {
            point: [count / rows for count in curve] for point, curve in zip(points, raw["correct"], strict=True)
        }
        self.best = max(max(curve) for curve in self.curves.values())

    def curve(self, params: Any) -> list[float]:
        """Accuracy after each epoch."""
        return self.curves[tuple(params[name] for name in self.space)]


class Spent(Exception):
    """The budget is used up."""


def climb(table: Table, algorithm: Any, seed: int, budget: int, slots: int = 1) -> tuple[list[float], int]:
    """Regret in points after each epoch up to the budget, and how many decisions that took."""
    from shipway.components.sweep.engine import Engine
    from shipway.components.sweep.rungs import rungs_of
    from shipway.components.sweep.search import Search
    from shipway.components.sweep.spec import SweepSpec
    from shipway.specs import parse
    from tests.fixtures.tabled_trials import TabledTrials, ledger_in

    given = {"objective": f"maximize {METRIC}", "parameters": table.space, "algorithm": algorithm, "seed": seed}
    more = {"maxTrialCount": len(table.curves), "training": {"epochs": table.epochs}}
    spec = parse(SweepSpec, {**given, **more})
    regret = [100 * table.best] * (budget + 1)
    best = 0.0

    def told(clock: int, request: Any, status: Any) -> None:
        nonlocal best
        if clock > budget:
            raise Spent
        if status.state == "Succeeded" and status.metrics[METRIC] > best:
            best = status.metrics[METRIC]
            regret[clock:] = [100 * (table.best - best)] * (budget + 1 - clock)

    trials: Any = TabledTrials(table.curve, METRIC, slots, told=told)
    rungs = rungs_of(spec, has_defaults=False)
    with tempfile.TemporaryDirectory() as folder:
        search = Search(spec, None, table.epochs, pauses=rungs is not None)
        with contextlib.suppress(Spent):
            Engine(spec, search, ledger_in(folder), trials, rungs=rungs).run()
    return regret, len(trials.started)


def mean_climb(table: Table, algorithm: Any, budget: int) -> tuple[list[float], float]:
    """The mean regret over the seeds after each epoch, and milliseconds a decision."""
    began = time.monotonic()
    climbs = [climb(table, algorithm, seed, budget) for seed in range(SEEDS)]
    decisions = sum(count for _, count in climbs)
    milliseconds = 1000 * (time.monotonic() - began) / decisions
    return [statistics.mean(step) for step in zip(*(regret for regret, _ in climbs), strict=True)], milliseconds


def _asha(least: int) -> dict[str, Any]:
    return {"algorithmName": "asha", "algorithmSettings": {"r_min": least}}


def reach(regret: list[float], level: float) -> int | None:
    """The first epoch at which it is at most that."""
    return next((epoch for epoch, value in enumerate(regret) if value <= level), None)


def main() -> dict[str, Any]:
    """The benchmark's line: epochs of ASHA until it has random search's last regret, over random search's epochs."""
    began = time.monotonic()
    table = Table()
    budget = BUDGET_TRAININGS * table.epochs
    random, _ = mean_climb(table, "random", budget)
    asha, milliseconds = mean_climb(table, "asha", budget)
    hyperband, _ = mean_climb(table, "hyperband", budget)
    reached, later = reach(asha, random[-1]), reach(hyperband, random[-1])
    # Eight epochs of another problem, whose curves cross: where ASHA has little to give.
    short = Table(TABLE.with_name("sweep_table.json"))
    crossing = BUDGET_TRAININGS * short.epochs
    level = mean_climb(short, "random", crossing)[0][-1]
    of_eight = [reach(mean_climb(short, _asha(least), crossing)[0], level) for least in (1, 2)]
    ratio = (reached if reached is not None else 2 * budget) / budget
    return {
        "name": "asha",
        "ratio": round(ratio, 3),
        "goal": GOAL,
        "meets_goal": ratio <= GOAL,
        "baseline": f"epochs of random search, {BUDGET_TRAININGS} trainings, to its last regret, {SEEDS} seeds",
        "details": {
            "configurations": len(table.curves),
            "epochs_a_training": table.epochs,
            "random_epochs": budget,
            "random_points": round(random[-1], 3),
            "asha_epochs": reached,
            "asha_points_at_the_end": round(asha[-1], 3),
            "hyperband_epochs": later,
            "hyperband_points_at_the_end": round(hyperband[-1], 3),
            "of_8_epochs_random_epochs": crossing,
            "of_8_epochs_asha_epochs": of_eight[0],
            "of_8_epochs_asha_epochs_r_min_2": of_eight[1],
            "ms_a_decision": round(milliseconds, 2),
            "seconds": round(time.monotonic() - began, 1),
        },
    }
