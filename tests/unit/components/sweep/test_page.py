"""The sweep's page, where a browser is not needed."""

from __future__ import annotations

from pathlib import Path

from shipway.artifacts import SweepRecord
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
