"""How good a tagger is: what is counted, what is kept of it, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.artifacts import EvaluationRecord, RuleResult
from shipway.inputs.base import Input
from shipway.pages import Report, percent
from shipway.recipes.arrays import Columns
from shipway.tasks.evaluated import Baseline, Evaluated, Read, ScoredSplit
from shipway.tasks.tagging import baselines, figures
from shipway.tasks.tagging.answers import HALF
from shipway.tasks.tagging.details import Details, Params, Rules, TagMetrics
from shipway.tasks.tagging.labels import tags_of
from shipway.tasks.tagging.measure import measure
from shipway.tasks.tagging.page import about_unknown, add_sections
from shipway.tasks.tagging.rules import judge
from shipway.tasks.tagging.threshold import FLOOR

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_NAMED = 5  # of a list in a sentence


class TaggingEvaluation:
    """Implements `shipway.tasks.base.Evaluation`.

    Figures are of tags named from 0.5 on, a point that does not move with the rows that a threshold was calibrated on:
    that of training, of sweeps and of the comparison with the champion.
    """

    Params: type[BaseModel] = Params
    Rules: type[BaseModel] = Rules
    baselines: Mapping[str, str] = baselines.TITLES

    def frame(self, labels: Sequence[str], columns: Columns, truth: pl.Series) -> pl.DataFrame:
        """predicted (tags from 0.5 on), and for the threshold the scores from FLOOR on: candidate_scores and
        candidate_right (whether the row has that tag)."""
        scores, tags = cast(NDArray[np.float32], columns["scores"]), tags_of(truth)
        unknown = sorted(set(tags.explode(empty_as_null=False).unique()) - set(labels))
        is_true = figures.multi_hot(tags, [*labels, *unknown])[:, : len(labels)].toarray() > 0
        is_named, is_candidate = scores >= np.float32(HALF), scores >= np.float32(FLOOR)
        return pl.DataFrame(
            {
                "predicted": _lists(is_named, pl.Series(list(labels), dtype=pl.String).gather(np.nonzero(is_named)[1])),
                "candidate_scores": _lists(is_candidate, pl.Series(scores[is_candidate])),
                "candidate_right": _lists(is_candidate, pl.Series(is_true[is_candidate])),
            }
        )

    def statistics(self, rows: pl.DataFrame, classes: Sequence[str]) -> csr_array:
        """By tag: rightly named, true, named; all tags right; 1: float64 (n, 3 * classes + 2)."""
        truth = figures.multi_hot(tags_of(rows["label"]), classes)
        return figures.statistics(truth, figures.multi_hot(rows["predicted"], classes))

    def metrics(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return figures.averages(sums)

    def credit(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Jaccard's index: one tag more that is right counts, also where not all are."""
        return figures.jaccard(tags_of(rows["label"]), rows["predicted"])

    def measure(self, scored: ScoredSplit, params: BaseModel) -> Evaluated:
        return measure(scored, cast(Params, params))

    def fit_baseline(self, name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Baseline | None:
        return baselines.fit(name, kind, rows, seed)

    def judge(self, rules: BaseModel, record: EvaluationRecord, read: Read) -> Iterator[RuleResult]:
        return judge(cast(Rules, rules), details_of(record))

    def settings(self, record: EvaluationRecord) -> dict[str, Any]:
        threshold = details_of(record).threshold
        return {"threshold": threshold.value} if threshold else {}

    def facts(self, record: EvaluationRecord) -> dict[str, Any]:
        details = details_of(record)
        return {
            "tags": len(record.labels),
            "threshold": details.threshold.value if details.threshold else None,
            "unknown_tags": details.unknown_tags,
            "weakest_tags": [
                {"tag": tag.tag, "average_precision": round(tag.average_precision or 0.0, 4), "rows": tag.support}
                for tag in _weakest(details)
            ],
        }

    def headline(self, record: EvaluationRecord) -> list[str]:
        details, sentences = details_of(record), []
        if details.unknown_tags:
            sentences.append(about_unknown(details))
        if threshold := details.threshold:
            sentences.append(
                f"Names tags from a score of {threshold.value:.2f}: {percent(threshold.precision)} of those it names "
                f"are right, and it finds {percent(threshold.recall)} of the tags that rows have."
            )
        return sentences

    def limits(self, record: EvaluationRecord) -> list[str]:
        details, sentences = details_of(record), []
        if weakest := _weakest(details):
            named = ", ".join(f"{tag.tag} ({percent(tag.average_precision or 0.0)}, {tag.support} rows)"
                              for tag in weakest)  # fmt: skip
            sentences.append(f"Least average precision: {named}.")
        if details.confusions:
            named = ", ".join(f"{pair.named} for {pair.missed} ({pair.count})" for pair in details.confusions[:_NAMED])
            sentences.append(f"Names most often in place of another tag (rows): {named}.")
        if not details.threshold:
            sentences.append("Names tags from a score of 0.5: no threshold was calibrated.")
        return sentences

    def sections(self, page: Report, record: EvaluationRecord, read: Read) -> None:
        add_sections(page, details_of(record))

    def matrix(self, record: EvaluationRecord, read: Read) -> None:
        """None: a row has many tags, or none."""


def details_of(record: EvaluationRecord) -> Details:
    """What `measure` kept in a record."""
    return Details.model_validate(record.details)


def _weakest(details: Details) -> list[TagMetrics]:
    known = [tag for tag in details.per_tag if tag.average_precision is not None and tag.average_precision < 1]
    return sorted(known, key=lambda tag: (tag.average_precision, tag.tag))[:_NAMED]


def _lists(cells: NDArray[np.bool_], values: pl.Series) -> pl.Series:
    """The values of the marked cells, which come row by row, as a list a row."""
    marked = pl.DataFrame([pl.Series("row", np.nonzero(cells)[0]), values.alias("values")])
    lists = marked.group_by("row", maintain_order=True).agg("values")
    rows = pl.DataFrame({"row": np.arange(len(cells))}).join(lists, on="row", how="left", maintain_order="left")
    return rows["values"].fill_null([])
