"""Which of two numbers the threshold for "none of these" is of, and what a person reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import EvaluationRecord
from shipway.pages import Report
from shipway.tasks import load_task
from shipway.tasks.classification import sureness
from shipway.tasks.classification.details import Details
from shipway.tasks.evaluated import ScoredSplit

TASK = load_task("classification")
REPORTS = Path(__file__).parents[3] / "fixtures" / "reports"
RIGHT = np.arange(200) % 10 != 0


def scored(folder: Path, confidence: dict[str, Any]) -> ScoredSplit:
    """Two hundred rows, every tenth answered wrongly, with the columns of `confidence`."""
    rows = pl.DataFrame(
        {
            "label": "a",
            "predicted": pl.Series(np.where(RIGHT, "a", "b")),
            "label_probability": 0.5,
            "group_hash": pl.Series(np.arange(200), dtype=pl.UInt64),
            **{name: pl.Series(values, dtype=pl.Float32) for name, values in confidence.items()},
        }
    )
    rows.with_columns(row_id=pl.int_range(200), preview=pl.lit("a text")).write_parquet(folder / "kept.parquet")
    return ScoredSplit(["a", "b"], ["a", "b"], "test", rows, folder / "kept.parquet", {}, lambda: rows, folder)


def record(folder: Path, confidence: dict[str, Any]) -> EvaluationRecord:
    details = TASK.evaluation.measure(scored(folder, confidence), TASK.evaluation.Params()).details
    return EvaluationRecord.read(REPORTS / "evaluation.json").model_copy(update={"details": details})


SPREAD = np.linspace(0.3, 0.9, 200)
TELLING, MISLEADING = np.where(RIGHT, SPREAD, 0.1), np.where(RIGHT, SPREAD, 0.95)


@pytest.mark.parametrize(
    ("of_sureness", "used"),
    [(SPREAD, "sureness"), (np.where(RIGHT, SPREAD, 0.1), "sureness"), (MISLEADING, "probability")],
    ids=["as good", "better", "worse"],
)
def test_sureness_is_used_where_it_answers_the_eval_rows_no_worse(tmp_path: Path, of_sureness: Any, used: str) -> None:
    by_probability = TELLING if used == "probability" else SPREAD
    found = record(tmp_path, {"probability": by_probability, "sureness": of_sureness})
    threshold = Details.model_validate(found.details).threshold
    assert threshold is not None
    assert threshold.of == used
    assert threshold.other is not None
    assert {threshold.of, threshold.other.of} == {"probability", "sureness"}
    wanted = {"sureness": threshold.value} if used == "sureness" else threshold.value
    assert TASK.evaluation.settings(found) == {"threshold": wanted}
    assert TASK.evaluation.facts(found)["threshold_of"] == used
    assert any(f"below {used} 0.3" in sentence for sentence in TASK.evaluation.headline(found))


def test_the_page_draws_both_and_says_which_one_is_used(tmp_path: Path) -> None:
    page = Report(title="Evaluation")
    found = record(tmp_path, {"probability": SPREAD, "sureness": TELLING})
    TASK.evaluation.sections(page, found, lambda name: (tmp_path / name).read_bytes())
    written = page.render()
    assert "by probability" in written
    assert "by sureness" in written
    assert "answered by sureness 100.0 % are right, by probability 9" in written.replace("\u00a0", " ")


def test_without_sureness_all_is_of_the_probability(tmp_path: Path) -> None:
    found = record(tmp_path, {"probability": SPREAD})
    threshold = Details.model_validate(found.details).threshold
    assert threshold is not None
    assert (threshold.of, threshold.other) == ("probability", None)
    assert TASK.evaluation.settings(found) == {"threshold": threshold.value}
    page = Report(title="Evaluation")
    TASK.evaluation.sections(page, found, lambda name: (tmp_path / name).read_bytes())
    assert "ureness" not in page.render()


def test_an_evaluation_of_an_earlier_shipway_reads_as_before() -> None:
    kept = EvaluationRecord.read(REPORTS / "evaluation.json")
    threshold = Details.model_validate(kept.details).threshold
    assert threshold is not None
    assert TASK.evaluation.settings(kept) == {"threshold": threshold.value}


def test_the_usual_similarity_has_a_twentieth_of_the_rows_below_it_and_few_rows_make_nothing_unusual() -> None:
    similarity = np.random.default_rng(0).random(1000).astype(np.float32)
    assert (similarity < sureness.usual(similarity)).mean() == pytest.approx(0.05, abs=0.002)
    assert sureness.usual(similarity[:9]) == sureness.NEVER_UNUSUAL
    assert sureness.usual(np.ones(100, np.float32)) == 1.0
