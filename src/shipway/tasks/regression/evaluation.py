"""How good a regression is: what is summed, what is kept of it, and what is said of it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.artifacts import EvaluationRecord, RuleResult
from shipway.inputs.base import Input
from shipway.pages import Report, number, percent
from shipway.recipes.arrays import Columns
from shipway.tasks.evaluated import Baseline, Evaluated, Read, ScoredSplit
from shipway.tasks.regression import baselines, figures
from shipway.tasks.regression.answers import values
from shipway.tasks.regression.details import Details, Params, Row, Rules
from shipway.tasks.regression.page import PREVIEW_CHARACTERS, add_sections
from shipway.tasks.regression.rules import judge

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ERRORS = "errors.npy"  # how far each row is off, float64, ascending
SHARES = (0.5, 0.9, 0.99)
_NAMED = 5  # of a list in the run's summary


class RegressionEvaluation:
    """Implements `shipway.tasks.base.Evaluation`."""

    Params: type[BaseModel] = Params
    Rules: type[BaseModel] = Rules
    baselines: Mapping[str, str] = baselines.TITLES

    def frame(self, labels: Sequence[str], columns: Columns, truth: pl.Series) -> pl.DataFrame:
        """predicted, and error: predicted minus true."""
        predicted = pl.Series("predicted", values(columns), dtype=pl.Float64)
        return pl.DataFrame({"predicted": predicted, "error": predicted - truth.cast(pl.Float64)})

    def statistics(self, rows: pl.DataFrame, classes: Sequence[str]) -> csr_array:
        from scipy.sparse import csr_array  # the plan checks settings where it is not installed

        return csr_array(figures.statistics(_truth(rows), rows["predicted"].to_numpy()))

    def metrics(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """rmse, mae, r2, mean_error."""
        return figures.averages(sums)

    def credit(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """How far it is off, below 0."""
        return -np.abs(rows["predicted"].to_numpy() - _truth(rows))

    def measure(self, scored: ScoredSplit, params: BaseModel) -> Evaluated:
        wanted = cast(Params, params)
        truth, predicted = _truth(scored.rows), scored.rows["predicted"].to_numpy()
        error = predicted - truth
        sizes = np.sort(np.abs(error))
        np.save(scored.folder / ERRORS, sizes)
        counts, edges = np.histogram(error, wanted.bins)
        shown = figures.evenly(np.argsort(truth, kind="stable"), wanted.points)
        details = Details(
            truth=[float(truth.min()), float(truth.max())],
            quantiles=[[share, float(np.quantile(sizes, share, method="higher"))] for share in SHARES],
            edges=edges.tolist(),
            counts=counts.tolist(),
            points=np.column_stack([truth, predicted])[shown].tolist(),
            worst=_worst(scored.kept, wanted.worst),
        )
        return Evaluated({"max_error": float(sizes[-1])}, details.model_dump(mode="json"), [ERRORS])

    def fit_baseline(self, name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Baseline | None:
        return baselines.fit(name, kind, rows, seed)

    def judge(self, rules: BaseModel, record: EvaluationRecord, read: Read) -> Iterator[RuleResult]:
        sizes = np.load(io.BytesIO(read(ERRORS)), allow_pickle=False)
        return judge(cast(Rules, rules), record.metrics["mean_error"], sizes)

    def settings(self, record: EvaluationRecord) -> dict[str, Any]:
        return {}

    def facts(self, record: EvaluationRecord) -> dict[str, Any]:
        details = details_of(record)
        return {
            "truth": details.truth,
            "error_quantiles": [{"off_by": _short(size), "share": share} for share, size in details.quantiles],
            "worst_rows": [
                {"is": row.true, "off_by": _short(row.error), "row": row.preview[:PREVIEW_CHARACTERS]}
                for row in details.worst[:_NAMED]
            ],
        }

    def headline(self, record: EvaluationRecord) -> list[str]:
        details = details_of(record)
        (half, near), *others = [(percent(share, 0), number(size)) for share, size in details.quantiles]
        more = "".join(f", {share} by at most {size}" for share, size in others)
        sentences = [f"{half} of its answers are off by at most {near}{more}."]
        interval = record.intervals.get("mean_error")
        if interval is not None and not interval.low <= 0 <= interval.high:
            error = record.metrics["mean_error"]
            sentences.append(
                f"Its answers are too {'high' if error > 0 else 'low'} by {number(abs(error))} on average."
            )
        return sentences

    def limits(self, record: EvaluationRecord) -> list[str]:
        details = details_of(record)
        low, high = (number(end) for end in details.truth)
        sentences = [f"It was judged on true values from {low} to {high}; how it does beyond them is not known."]
        if details.worst:
            worst = details.worst[0]
            sentences.append(
                f"Farthest off: {number(worst.predicted)} for {number(worst.true)} "
                f"(“{worst.preview[:PREVIEW_CHARACTERS]}”)."
            )
        return sentences

    def sections(self, page: Report, record: EvaluationRecord, read: Read) -> None:
        add_sections(page, details_of(record))

    def matrix(self, record: EvaluationRecord, read: Read) -> None:
        return None


def details_of(record: EvaluationRecord) -> Details:
    """What `measure` kept in a record."""
    return Details.model_validate(record.details)


def _short(value: float) -> float:
    """Six digits: screens show a fact as it is."""
    return float(f"{value:.6g}")


def _truth(rows: pl.DataFrame) -> NDArray[np.float64]:
    return rows["label"].cast(pl.Float64).to_numpy()


def _worst(kept: Path, most: int) -> list[Row]:
    rows = (
        pl.scan_parquet(kept, glob=False)
        .sort(pl.col("error").abs(), pl.col("row_id"), descending=[True, False])
        .head(most)
        .select("preview", pl.col("label").cast(pl.Float64).alias("true"), "predicted")
        .collect()
    )
    return [Row(**row) for row in rows.iter_rows(named=True)]
