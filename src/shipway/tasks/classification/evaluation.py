"""How good a classifier is: what is counted, what is kept of it, and what is said of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.artifacts import EvaluationRecord, RuleResult
from shipway.inputs.base import Input
from shipway.pages import Report, percent
from shipway.recipes.arrays import Columns
from shipway.tasks.classification import baselines, figures
from shipway.tasks.classification import threshold as out_of_scope
from shipway.tasks.classification.details import (
    ClassMetrics,
    Confusion,
    Details,
    Params,
    Rules,
    Threshold,
)
from shipway.tasks.classification.page import EXAMPLE_CHARACTERS, about_unknown, add_sections
from shipway.tasks.classification.rules import judge
from shipway.tasks.evaluated import Baseline, Evaluated, Read, ScoredSplit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CONFUSION = "confusion.json"  # {"labels": [...], "counts": [[...]]}, rows are true classes; unknown labels come last
_NAMED = 5  # of a list in a sentence


class ClassificationEvaluation:
    """Implements `shipway.tasks.base.Evaluation`."""

    Params: type[BaseModel] = Params
    Rules: type[BaseModel] = Rules
    baselines: Mapping[str, str] = baselines.TITLES

    def frame(self, labels: Sequence[str], columns: Columns, truth: pl.Series) -> pl.DataFrame:
        """predicted, probability (of the predicted label), label_probability (of the true label, 0 where the model
        doesn't know it), and sureness of a model that tells it."""
        probabilities = cast(NDArray[np.float32], columns["probabilities"])
        rows, best = np.arange(len(probabilities)), probabilities.argmax(axis=1)
        ids = {label: i for i, label in enumerate(labels)}
        known = np.array([ids.get(label, -1) for label in truth], dtype=np.int64)
        return pl.DataFrame(
            {
                "predicted": pl.Series(list(labels), dtype=pl.String).gather(best),
                "probability": pl.Series(probabilities[rows, best], dtype=pl.Float32),
                "label_probability": pl.Series(np.where(known >= 0, probabilities[rows, known], 0.0), dtype=pl.Float32),
                **(
                    {"sureness": pl.Series(cast(NDArray[np.float32], columns["sureness"]))}
                    if "sureness" in columns
                    else {}
                ),
            }
        )

    def statistics(self, rows: pl.DataFrame, classes: Sequence[str]) -> csr_array:
        """By class: rightly answered, of this class, answered so; float64 (n, 3 * classes)."""
        count = len(classes)
        truth, predicted = _coded(rows, "label", classes), _coded(rows, "predicted", classes)
        right = truth == predicted
        from scipy.sparse import csr_array  # the plan checks settings where it is not installed

        offsets = np.concatenate([[0], np.cumsum(2 + right)])
        places = np.empty(offsets[-1], dtype=np.int32)  # straight into rows: a split may have millions
        places[offsets[:-1]], places[offsets[:-1] + 1] = count + truth, 2 * count + predicted
        places[offsets[1:][right] - 1] = truth[right]
        return csr_array((np.ones(len(places)), places, offsets), shape=(len(rows), 3 * count))

    def metrics(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """accuracy, macro_f1, weighted_f1."""
        return figures.averages_of(*np.split(sums, 3, axis=1))

    def credit(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """1 for a right answer, else 0."""
        return (rows["label"] == rows["predicted"]).to_numpy().astype(np.float64)

    def measure(self, scored: ScoredSplit, params: BaseModel) -> Evaluated:
        wanted = cast(Params, params)
        truth, predicted = (_coded(scored.rows, name, scored.classes) for name in ("label", "predicted"))
        right, known = truth == predicted, len(scored.labels)
        counts = figures.confusion_matrix(truth, predicted, len(scored.classes))
        calibrated = figures.calibration(scored.rows["probability"].to_numpy(), right, wanted.calibration_bins)
        threshold = _threshold(scored, wanted)
        left_out = figures.with_left_out(right, truth >= known, sum(scored.left_out.values()))
        metrics = {
            "log_loss": figures.log_loss(scored.rows["label_probability"].to_numpy()),
            "ece": calibrated.ece,
            **left_out,
        }
        if threshold is not None:
            metrics |= {"coverage": threshold.coverage, "covered_accuracy": threshold.accuracy}
        matrix = {"labels": scored.classes, "counts": counts.tolist()}
        (scored.folder / CONFUSION).write_text(json.dumps(matrix), encoding="utf-8")
        details = Details(
            per_class=_per_class(scored.classes, counts),
            worst_confusions=_confusions(scored.kept, scored.classes, counts, wanted),
            threshold=threshold,
            unknown_labels={scored.classes[i]: int(counts[i].sum()) for i in range(known, len(scored.classes))},
            calibration_bins=calibrated.bins,
        )
        return Evaluated(
            metrics,
            details.model_dump(mode="json"),
            [CONFUSION],
            f"accuracy with them as wrong answers {left_out['accuracy_all_rows']:.4f}, without them {right.mean():.4f}",
        )

    def fit_baseline(self, name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Baseline | None:
        return baselines.fit(name, kind, rows, seed)

    def judge(self, rules: BaseModel, record: EvaluationRecord, read: Read) -> Iterator[RuleResult]:
        labels, counts = _matrix(read)
        return judge(cast(Rules, rules), details_of(record), counts, labels)

    def settings(self, record: EvaluationRecord) -> dict[str, Any]:
        threshold = details_of(record).threshold
        if threshold is None:
            return {}
        return {"threshold": {"sureness": threshold.value} if threshold.of == "sureness" else threshold.value}

    def facts(self, record: EvaluationRecord) -> dict[str, Any]:
        details = details_of(record)
        return {
            "classes": len(record.labels),
            "threshold": details.threshold.value if details.threshold else None,
            "threshold_of": details.threshold.of if details.threshold else None,
            "unknown_labels": details.unknown_labels,
            "worst_confusions": [
                {"count": c.count, "label": c.label, "predicted": c.predicted, "such_as": _example(c)}
                for c in details.worst_confusions[:_NAMED]
            ],
        }

    def headline(self, record: EvaluationRecord) -> list[str]:
        details, sentences = details_of(record), []
        if details.unknown_labels:
            sentences.append(about_unknown(details))
        if threshold := details.threshold:
            sentences.append(
                f'Answers "none of these" below {threshold.of} {threshold.value:.2f}: it then answers '
                f"{percent(threshold.coverage)} of the rows, {percent(threshold.accuracy)} of them right."
            )
        return sentences

    def limits(self, record: EvaluationRecord) -> list[str]:
        details, sentences = details_of(record), []
        weak = sorted((c for c in details.per_class if c.support and c.recall < 1), key=lambda c: (c.recall, c.label))
        if weak:
            named = ", ".join(f"{c.label} ({percent(c.recall)} of {c.support})" for c in weak[:_NAMED])
            sentences.append(f"Least recall: {named}.")
        if details.worst_confusions:
            named = "; ".join(
                f"{c.label} for {c.predicted} ({c.count} rows, such as “{_example(c)}”)"
                for c in details.worst_confusions[:_NAMED]
            )
            sentences.append(f"Mistakes most often: {named}.")
        if details.threshold:
            sentences.append(
                f"Its threshold for “none of these”, {details.threshold.value:.3f}, was calibrated without rows that "
                "are none of these."
            )
        return sentences

    def sections(self, page: Report, record: EvaluationRecord, read: Read) -> None:
        labels, counts = _matrix(read)
        add_sections(page, details_of(record), labels, counts)

    def matrix(self, record: EvaluationRecord, read: Read) -> tuple[list[str], list[list[int]]]:
        labels, counts = _matrix(read)
        return labels, counts.tolist()


def details_of(record: EvaluationRecord) -> Details:
    """What `measure` kept in a record."""
    return Details.model_validate(record.details)


def _matrix(read: Read) -> tuple[list[str], figures.Ints]:
    document = json.loads(read(CONFUSION))
    labels = [str(label) for label in document["labels"]]
    return labels, np.array(document["counts"], dtype=np.int64).reshape(len(labels), len(labels))


def _coded(rows: pl.DataFrame, column: str, classes: Sequence[str]) -> figures.Ints:
    ids = {label: i for i, label in enumerate(classes)}
    return rows[column].replace_strict(ids, return_dtype=pl.Int64).to_numpy()


def _example(confusion: Confusion) -> str:
    return str(confusion.examples[0]["preview"])[:EXAMPLE_CHARACTERS] if confusion.examples else ""


def _threshold(split: ScoredSplit, params: Params) -> Threshold | None:
    """Calibrated on the eval split, reported on the scored one; None where there are no eval rows."""
    calibration = split.calibration()
    if calibration is None:
        return None
    by_probability = _threshold_of("probability", calibration, split.rows, params)
    if "sureness" not in split.rows.columns:
        return by_probability
    by_sureness = _threshold_of("sureness", calibration, split.rows, params)
    used, other = by_sureness, by_probability
    if not _is_as_good(by_sureness, by_probability, len(calibration)):
        used, other = other, used
    return used.model_copy(update={"other": other})


def _is_as_good(one: Threshold, other: Threshold, rows: int) -> bool:
    """Whether what it answers of the rows that it was calibrated on is as often right, but for a standard error."""
    accuracy, bar = one.calibration_accuracy or 0.0, other.calibration_accuracy or 0.0
    return accuracy >= bar - math.sqrt(bar * (1 - bar) / max(rows, 1))


def _threshold_of(
    score: Literal["probability", "sureness"], calibration: pl.DataFrame, rows: pl.DataFrame, params: Params
) -> Threshold:
    confidence, right = _answered(calibration, score)
    scored, scored_right = _answered(rows, score)
    value = out_of_scope.calibrate(confidence, right, params.threshold)
    coverage, accuracy = out_of_scope.coverage_at(scored, scored_right, value)
    calibration_coverage, calibration_accuracy = out_of_scope.coverage_at(confidence, right, value)
    return Threshold(
        value=value,
        of=score,
        coverage=coverage,
        accuracy=accuracy,
        curve=out_of_scope.curve(scored, scored_right),
        calibrated_on="eval",
        calibration_coverage=calibration_coverage,
        calibration_accuracy=calibration_accuracy,
    )


def _answered(rows: pl.DataFrame, score: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The score of the answer and whether that is right, by row."""
    return rows[score].to_numpy(), (rows["label"] == rows["predicted"]).to_numpy()


def _per_class(classes: list[str], counts: figures.Ints) -> list[ClassMetrics]:
    scores = figures.class_scores(counts)
    columns = (scores.precision, scores.recall, scores.f1, scores.support)
    return [
        ClassMetrics(label=label, precision=p, recall=r, f1=f, support=s)
        for label, p, r, f, s in zip(classes, *(column.tolist() for column in columns), strict=True)
    ]


def _confusions(kept: Path, classes: list[str], counts: figures.Ints, params: Params) -> list[Confusion]:
    """The worst pairs, each with the rows that the model was surest of."""
    pairs = [(classes[i], classes[j], n) for i, j, n in figures.worst_confusions(counts, params.confusions)]
    wanted = pl.LazyFrame({"label": [p[0] for p in pairs], "predicted": [p[1] for p in pairs]}, schema_overrides={
        "label": pl.String, "predicted": pl.String
    })  # fmt: skip
    rows = (
        pl.scan_parquet(kept, glob=False)
        .select("row_id", "label", "predicted", "probability", "preview")
        .join(wanted, on=["label", "predicted"], how="semi")
        .sort("probability", "row_id", descending=[True, False])
        .group_by("label", "predicted", maintain_order=True)
        .head(params.examples)
        .collect()
    )
    examples: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in rows.iter_rows(named=True):
        examples.setdefault((row["label"], row["predicted"]), []).append(
            {"preview": row["preview"], "probability": round(float(row["probability"]), 4)}
        )
    return [Confusion(label=a, predicted=b, count=n, examples=examples.get((a, b), [])) for a, b, n in pairs]
