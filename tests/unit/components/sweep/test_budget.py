"""A sweep's budget: never overrun, and what cannot be held against it is refused before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shipway.components.sweep import core
from shipway.components.sweep.budget import HOUR, account_of, check_budget
from shipway.components.sweep.engine import Engine
from shipway.components.sweep.rungs import rungs_of
from shipway.components.sweep.search import Search
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.spending import Spending
from shipway.components.sweep.summary import make_record
from shipway.errors import InvalidSpec, JobFailed
from shipway.specs import parse
from tests.fixtures.tabled_trials import TabledTrials, ledger_in

FIRST = {"x": 0.5}


def spec_of(algorithm: str = "random", trials: int = 150, **more: Any) -> SweepSpec:
    training = {"epochs": 27, "resources": {"cpu": "2"}}
    document = {"objective": "maximize score", "algorithm": algorithm, "maxTrialCount": trials, "training": training,
                "parameters": {"x": "uniform(0, 1)"}}  # fmt: skip
    return parse(SweepSpec, {**document, **more}, "sweep")


def curve(params: Mapping[str, Any]) -> list[float]:
    """Of 10 to 27 epochs: trials differ in what they cost."""
    return [float(params["x"]) * epoch for epoch in range(1, 10 + round(17 * float(params["x"])))]


def engine_of(spec: SweepSpec, folder: Path, slots: int, tick: int = 3) -> tuple[Engine, TabledTrials]:
    """Epochs are its seconds."""
    trials = TabledTrials(curve, "score", slots, tick=tick)
    player: Any = trials
    rungs = rungs_of(spec, has_defaults=True)
    spending = Spending(account_of(spec), core.trial_limit_s(spec), spec.trial_deadline_s or 0.0)
    search = Search(spec, FIRST, 27, pauses=rungs is not None)
    return Engine(spec, search, ledger_in(folder), player, rungs=rungs, spending=spending), trials


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("algorithm", ["random", "asha", "hyperband"])
def test_a_budget_is_used_and_never_overrun(algorithm: str, slots: int, tmp_path: Path) -> None:
    for seconds in (90, 261):
        spec = spec_of(algorithm, budget={"cpu_hours": 2 * seconds / HOUR})
        engine, trials = engine_of(spec, tmp_path / str(seconds), slots)
        records = engine.run()
        spent = sum(record.held_s for record in records)
        assert spent == trials.trained
        assert seconds - 27 - 15 <= spent <= seconds, f"{spent} of {seconds}"
        assert re.search(r"^the budget.* [\d.]+ of [\d.]+ CPU hours spent", engine.ended_by)
        account = make_record(spec, records, "", FIRST, None, engine.ended_by).account
        assert account is not None
        assert account.spent["cpu_hours"] == pytest.approx(2 * spent / HOUR, abs=1e-6)
        assert account.ended_by == engine.ended_by


def test_trials_that_turn_out_dearer_than_the_budget_are_ended_and_the_sweep_says_why(tmp_path: Path) -> None:
    engine, trials = engine_of(spec_of(budget={"cpu_hours": 2 * 10 / HOUR}), tmp_path, 1, tick=1)
    with pytest.raises(
        JobFailed, match=r"none of 1 trials .*the budget is used up: [\d.]+ of 0.005556 CPU hours spent"
    ):
        engine.run()
    assert trials.trained <= 10


def test_a_budget_of_trials_ends_a_sweep_with_them(tmp_path: Path) -> None:
    engine, _ = engine_of(spec_of(budget={"trials": 4}), tmp_path, 2)
    assert len(engine.run()) == 4
    assert engine.ended_by == "the budget: 4 of 4 trials"


def test_what_an_engine_spent_that_died_counts_for_the_next(tmp_path: Path) -> None:
    spec = spec_of(budget={"cpu_hours": 2 * 150 / HOUR})
    engine, trials = engine_of(spec, tmp_path, 1)
    calls = 0

    def told(clock: int, request: Any, status: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    trials.told = told
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    again, more = engine_of(spec, tmp_path, 1)
    again.run()
    lost = curve(trials.started[-1].params)  # nobody wrote down how far it was
    assert trials.trained - len(lost) + more.trained <= 150


GPU = {"training": {"resources": {"gpu": 2}}}
BAD = [
    ({"budget": {}}, "give at least one of trials, gpu_hours, cpu_hours, money"),
    ({"budget": {"trials": 0}}, r"sweep\.budget\.trials: .*at least 1"),
    ({"budget": {"money": 5}}, "money needs price_per_gpu_hour or price_per_cpu_hour"),
    ({"budget": {"gpu_hours": 5}}, r"sweep\.budget\.gpu_hours: .*no GPU.*give cpu_hours"),
    ({"budget": {"money": 5, "price_per_gpu_hour": 2}}, r"sweep\.budget\.money: .*give price_per_cpu_hour"),
    ({**GPU, "budget": {"gpu_hours": 1}, "trial_deadline_s": 3600}, r"gpu_hours: below one trial.*at least 2"),
    ({**GPU, "budget": {"money": 1, "price_per_gpu_hour": 3}, "trial_deadline_s": 900}, "one trial.*at least 1.5"),
    ({"budget": {"cpu_hours": 3}, "maxTrialCount": 1}, "nothing to spend it on: .*give sweep.maxTrialCount"),
    ({"budget": {"trials": 1}}, "nothing to spend it on"),
    ({"budget": {"trials": 3}, "engine": "katib"}, "Katib knows no budget but maxTrialCount"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_budget_that_cannot_be_held_is_one_line(document: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        check_budget(spec_of(**document))
    assert "\n" not in str(caught.value)


def test_the_limit_that_is_reached_first_counts() -> None:
    budget = {"gpu_hours": 4, "money": 6, "price_per_gpu_hour": 1.5, "price_per_cpu_hour": 0.5}
    account = account_of(spec_of(budget=budget, **GPU))
    assert account.limits_s == {"gpu_hours": 2 * HOUR, "money": pytest.approx(6 / 3.5 * HOUR)}
    assert account.text(HOUR) == "3.5 of 6"
    assert account_of(spec_of(**GPU)).text(HOUR) == "2 GPU hours"


def test_a_trial_costs_what_the_chief_asks_for() -> None:
    training = {"resources": {"cpu": "2", "gpu": 1, "chief": {"cpu": "500m", "gpu": 4}, "worker": {"gpu": 8}}}
    account = account_of(spec_of(training=training))
    assert (account.gpus, account.cores) == (4.0, 0.5)
