"""What is no function of sums over rows: average precision, the threshold, confusions, the worst rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.tasks.evaluated import Evaluated, ScoredSplit
from shipway.tasks.tagging import figures
from shipway.tasks.tagging import threshold as cut
from shipway.tasks.tagging.details import Confusion, Details, Params, TagMetrics, Threshold, WorstRow
from shipway.tasks.tagging.labels import tags_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_CELLS = 32_000_000  # scores that are held at once: 128 MB
_CHUNK = 65_536
_PLACE = "shipway place"


def measure(scored: ScoredSplit, params: Params) -> Evaluated:
    """All that the record, the rules, the page and the endpoint need beyond `Evaluation.metrics`."""
    tags = tags_of(scored.rows["label"])
    truth, named = (figures.multi_hot(lists, scored.classes) for lists in (tags, scored.rows["predicted"]))
    precisions = _average_precisions(scored, truth)
    threshold = _threshold(scored, params)
    unknown = scored.classes[len(scored.labels) :]
    unknown_rows = int((truth[:, len(scored.labels) :].sum(axis=1) > 0).sum())
    metrics = {
        "mean_average_precision": figures.mean_average_precision(precisions),
        "unknown_label_rate": unknown_rows / max(len(tags), 1),
    }
    if threshold is not None:
        metrics |= {f"threshold_{name}": getattr(threshold, name) for name in ("f1", "precision", "recall")}
    support = truth.sum(axis=0)
    details = Details(
        per_tag=_per_tag(scored.classes, truth, named, precisions),
        threshold=threshold,
        confusions=_confusions(scored, truth, named, params.confusions),
        worst_rows=_worst_rows(scored, truth, named, params.examples),
        unknown_tags={tag: int(support[len(scored.labels) + i]) for i, tag in enumerate(unknown)},
        unknown_rows=unknown_rows,
    )
    right, rows = int(((truth != named).sum(axis=1) == 0).sum()), len(tags)
    # A row that was left out is counted for each of its unknown tags.
    least, without = right / max(rows + sum(scored.left_out.values()), 1), right / max(rows, 1)
    said = f"rows with all tags right at least {least:.4f} with them as wrong answers, {without:.4f} without them"
    return Evaluated(metrics, details.model_dump(mode="json"), with_left_out=said)


def _average_precisions(scored: ScoredSplit, truth: csr_array) -> dict[str, float | None]:
    """By tag; 0 for those that the model never saw, None for those without rows."""
    result: dict[str, float | None] = dict.fromkeys(scored.classes, 0.0)
    width = max(1, _CELLS // max(len(scored.rows), 1))
    for start in range(0, len(scored.labels), width):
        tags = scored.labels[start : start + width]
        scores = _scores(scored.kept, len(scored.rows), slice(start, start + len(tags)))
        is_true = truth[:, start : start + len(tags)].toarray() > 0
        for i, tag in enumerate(tags):
            result[tag] = figures.average_precision(is_true[:, i], scores[:, i])
    return result


def _scores(kept: Path, rows: int, tags: slice) -> NDArray[np.float32]:
    """The kept scores of some tags, float32 (rows, tags)."""
    scanned = pl.scan_parquet(kept, glob=False).select("scores")
    parts = [scanned.slice(at, _CHUNK).collect()["scores"].to_numpy()[:, tags] for at in range(0, rows, _CHUNK)]
    return np.concatenate(parts)


def _threshold(split: ScoredSplit, params: Params) -> Threshold | None:
    """Calibrated on the eval split, reported on the scored one; None where there are no eval rows."""
    rows = split.calibration()
    if rows is None:
        return None
    calibration, scored = _candidates(rows), _candidates(split.rows)
    value = cut.calibrate(calibration, params.threshold)
    if value is None:
        return None
    f1, precision, recall = cut.at(scored, value)
    return Threshold(
        value=value,
        f1=f1,
        precision=precision,
        recall=recall,
        curve=cut.curve(scored),
        calibration_f1=cut.at(calibration, value)[0],
    )


def _candidates(rows: pl.DataFrame) -> cut.Candidates:
    scores, is_right = (
        rows[name].explode(empty_as_null=False).to_numpy() for name in ("candidate_scores", "candidate_right")
    )
    return cut.Candidates(scores, is_right.astype(bool), int(tags_of(rows["label"]).list.len().sum()))


def _per_tag(
    classes: list[str], truth: csr_array, named: csr_array, precisions: dict[str, float | None]
) -> list[TagMetrics]:
    right, support, given = (part.sum(axis=0) for part in (truth.multiply(named), truth, named))
    precision, recall = figures.ratio(right, given), figures.ratio(right, support)
    f1 = figures.ratio(2 * right, support + given)
    return [
        TagMetrics(
            tag=tag,
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            average_precision=precisions[tag] if support[i] else None,
            support=int(support[i]),
            named=int(given[i]),
        )
        for i, tag in enumerate(classes)
    ]


def _confusions(scored: ScoredSplit, truth: csr_array, named: csr_array, limit: int) -> list[Confusion]:
    """Pairs of a missed tag and one that is wrongly named in the same row, the most frequent first."""
    missed, wrong = (_positive(part).tocsc() for part in (truth - named, named - truth))
    pairs = (missed.T @ wrong).tocoo()
    order = np.lexsort([pairs.col, pairs.row, -pairs.data])[:limit]
    chosen = [(int(pairs.row[k]), int(pairs.col[k]), int(pairs.data[k])) for k in order]
    places = [int(np.intersect1d(_rows(missed, i), _rows(wrong, j))[0]) for i, j, _ in chosen]
    previews = _previews(scored.kept, places)
    return [
        Confusion(missed=scored.classes[i], named=scored.classes[j], count=count, example=previews[place])
        for (i, j, count), place in zip(chosen, places, strict=True)
    ]


def _positive(part: csr_array) -> csr_array:
    """1 where it is above 0, nothing else."""
    part = part.maximum(0)
    part.eliminate_zeros()
    return part


def _rows(matrix: csr_array, column: int) -> NDArray[np.int32]:
    """Rows of a CSC matrix that hold something in a column."""
    rows: NDArray[np.int32] = matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]]
    return rows


def _worst_rows(scored: ScoredSplit, truth: csr_array, named: csr_array, limit: int) -> list[WorstRow]:
    wrong = np.asarray((truth != named).sum(axis=1))
    order = np.argsort(-wrong, kind="stable")[:limit]
    places = [int(place) for place in order if wrong[place]]
    previews = _previews(scored.kept, places)
    rows = scored.rows[places]
    return [
        WorstRow(preview=previews[place], tags=tags, named=given)
        for place, tags, given in zip(places, tags_of(rows["label"]), rows["predicted"], strict=True)
    ]


def _previews(kept: Path, places: list[int]) -> dict[int, str]:
    """By the row's place in the file."""
    rows = pl.scan_parquet(kept, glob=False, row_index_name=_PLACE).filter(pl.col(_PLACE).is_in(places))
    return {place: str(preview) for place, preview in rows.select(_PLACE, "preview").collect().iter_rows()}
