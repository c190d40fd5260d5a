"""The sweep's page, where a browser is not needed."""

from __future__ import annotations

from pathlib import Path

from shipway.artifacts import SweepAccount, SweepRecord
from shipway.components.sweep.page import sweep_report

FIXTURE = Path(__file__).parents[3] / "fixtures" / "reports" / "sweep.json"


def test_a_page_says_which_trial_was_ahead_of_the_defaults_that_were_kept() -> None:
    written = SweepRecord.read(FIXTURE)
    assert written.best_trial == 3
    record = written.model_copy(update={"defaults": written.trials[0].params})
    page = sweep_report(record).render()
    assert ("Over the defaults" in page, "The defaults are kept" in page) == (True, False)
    first = record.trials[0]
    kept = {"best_trial": 0, "best_params": first.params, "best_value": first.metrics["val_accuracy"]}
    page = sweep_report(record.model_copy(update=kept)).render()
    assert ("Over the defaults" in page, "The defaults are kept" in page) == (False, True)
    assert "Trial 3 had 0.9669" in page


def test_a_page_says_nothing_of_defaults_where_the_search_chose_every_trial() -> None:
    page = sweep_report(SweepRecord.read(FIXTURE)).render()
    assert "defaults" not in page
    assert "Best val_accuracy" in page


def test_a_page_tells_what_trials_cost_why_they_ended_and_that_the_budget_was_reached() -> None:
    record = SweepRecord.read(FIXTURE)
    trials = [trial.model_copy(update={"held_s": 1800.0}) for trial in record.trials]
    trials[1] = trials[1].model_copy(update={"state": "Failed", "error": "ValueError: no such file"})
    trials[2] = trials[2].model_copy(update={"state": "EarlyStopped", "rungs": [0.5]})
    account = SweepAccount(
        gpus=2,
        cores=4,
        spent={"gpu_hours": float(len(trials))},
        budget={"gpu_hours": 9.0},
        ended_by="the budget: 8 of 9",
    )
    page = sweep_report(record.model_copy(update={"trials": trials, "account": account})).render()
    assert "The budget: 8 of 9. What was finished by then counts." in page
    assert "A trial has 2 GPUs and 4 cores." in page
    assert "Budget: 9 GPU hours." in page
    assert "ValueError: no such file" in page
    assert f"paused after {len(trials[2].history)} reports and was not promoted" in page
    assert "What it cost" not in sweep_report(record).render()
