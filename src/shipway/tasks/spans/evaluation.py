"""How good a tagger is: what is counted, what is kept of it, and what is said of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.artifacts import EvaluationRecord, RuleResult
from shipway.inputs.base import Input
from shipway.pages import Report, percent
from shipway.recipes.arrays import Columns, Ragged
from shipway.tasks.evaluated import Baseline, Evaluated, Read, ScoredSplit
from shipway.tasks.spans import baselines, figures
from shipway.tasks.spans.details import Details, Mistake, Params, Rules, TypeMetrics
from shipway.tasks.spans.figures import BOTH, BOUNDS, INVENTED, TYPE, Pair
from shipway.tasks.spans.page import NONE, about_mistakes, about_unknown, add_sections
from shipway.tasks.spans.rules import judge
from shipway.tasks.spans.spans import parse, write_spans

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TYPES = "types.json"  # {"labels": [...], "counts": [[...]]}: rows are true types; unknown ones and none come last
_NAMED = 5  # of a list in a sentence
_AROUND = 40  # characters of a row on both sides of a mistake

Kind = tuple[str, str | None, str | None]  # of a mistake, with the true and the answered type


class SpansEvaluation:
    """Implements `shipway.tasks.base.Evaluation`."""

    Params: type[BaseModel] = Params
    Rules: type[BaseModel] = Rules
    baselines: Mapping[str, str] = baselines.TITLES

    def frame(self, labels: Sequence[str], columns: Columns, truth: pl.Series) -> pl.DataFrame:
        """predicted: the spans, written as labels are."""
        parts = [cast(Ragged, columns[name]) for name in ("starts", "ends", "types")]
        rows = (zip(*(part.row(i).tolist() for part in parts), strict=True) for i in range(len(truth)))
        cells = [write_spans((start, end, labels[number]) for start, end, number in row) for row in rows]
        return pl.DataFrame({"predicted": pl.Series(cells, dtype=pl.String)})

    def statistics(self, rows: pl.DataFrame, classes: Sequence[str]) -> csr_array:
        return figures.statistics(rows["label"].to_list(), rows["predicted"].to_list(), classes)

    def metrics(self, sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return figures.metrics(sums)

    def credit(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """1 where all spans of a row are right and no other is answered, else 0."""
        return (rows["label"] == rows["predicted"]).to_numpy().astype(np.float64)

    def measure(self, scored: ScoredSplit, params: BaseModel) -> Evaluated:
        wanted, classes = cast(Params, params), scored.classes
        sums = np.asarray(self.statistics(scored.rows, classes).sum(axis=0)).ravel()[:-2].reshape(3, -1)
        kinds: dict[Kind, int] = Counter()
        examples: dict[Kind, list[tuple[int, Pair]]] = defaultdict(list)
        for number, (label, predicted) in enumerate(scored.rows.select("label", "predicted").iter_rows()):
            for pair in figures.mistakes(parse(label), parse(predicted)) if label != predicted else ():
                kind = _kind(pair)
                kinds[kind] += 1
                if len(examples[kind]) < wanted.examples:
                    examples[kind].append((number, pair))
        labels = [*classes, NONE]
        matrix = {"labels": labels, "counts": _counts(classes, sums[0], kinds)}
        (scored.folder / TYPES).write_text(json.dumps(matrix), encoding="utf-8")
        ordered = sorted(kinds, key=lambda kind: (-kinds[kind], [part or "" for part in kind]))[: wanted.mistakes]
        right, true, predicted_spans = (int(part.sum()) for part in sums)
        details = Details(
            spans=true,
            right=right,
            predicted=predicted_spans,
            mistakes=_by_kind(kinds),
            per_type=_per_type(classes, sums, kinds),
            worst=_worst(scored.kept, ordered, kinds, examples),
            unknown_types={name: int(sums[1][i]) for i, name in enumerate(classes) if i >= len(scored.labels)},
        )
        return Evaluated({}, details.model_dump(mode="json"), [TYPES])

    def fit_baseline(self, name: str, kind: Input, rows: pl.DataFrame, seed: int) -> Baseline | None:
        return baselines.fit(name, kind, rows, seed)

    def judge(self, rules: BaseModel, record: EvaluationRecord, read: Read) -> Iterator[RuleResult]:
        return judge(cast(Rules, rules), details_of(record))

    def settings(self, record: EvaluationRecord) -> dict[str, Any]:
        return {}

    def facts(self, record: EvaluationRecord) -> dict[str, Any]:
        details = details_of(record)
        return {
            "types": len(record.labels),
            "spans": details.spans,
            "mistakes": details.mistakes,
            "unknown_types": details.unknown_types,
            "worst_mistakes": [
                {"count": m.count, "mistake": m.kind, "is": m.type or NONE, "taken_for": m.predicted or NONE}
                for m in details.worst[:_NAMED]
            ],
        }

    def headline(self, record: EvaluationRecord) -> list[str]:
        details = details_of(record)
        return [about_mistakes(details), *([about_unknown(details)] if details.unknown_types else [])]

    def limits(self, record: EvaluationRecord) -> list[str]:
        details, sentences = details_of(record), []
        weak = sorted((one for one in details.per_type if one.support and one.recall < 1), key=lambda one: one.recall)
        if weak:
            named = ", ".join(f"{one.type} ({percent(one.recall)} of {one.support})" for one in weak[:_NAMED])
            sentences.append(f"Least recall: {named}.")
        if details.worst:
            sentences.append(f"Mistakes most often: {'; '.join(map(_told, details.worst[:_NAMED]))}.")
        return sentences

    def sections(self, page: Report, record: EvaluationRecord, read: Read) -> None:
        labels, counts = _matrix(read)
        add_sections(page, details_of(record), labels, counts)

    def matrix(self, record: EvaluationRecord, read: Read) -> tuple[list[str], list[list[int]]]:
        return _matrix(read)


def details_of(record: EvaluationRecord) -> Details:
    """What `measure` kept in a record."""
    return Details.model_validate(record.details)


def _matrix(read: Read) -> tuple[list[str], list[list[int]]]:
    document = json.loads(read(TYPES))
    return [str(label) for label in document["labels"]], document["counts"]


def _kind(pair: Pair) -> Kind:
    return pair.kind, pair.true and pair.true.type, pair.predicted and pair.predicted.type


def _by_kind(kinds: Mapping[Kind, int]) -> dict[str, int]:
    by_kind: Counter[str] = Counter()
    for (kind, _, _), count in kinds.items():
        by_kind[kind] += count
    return {kind: by_kind[kind] for kind in figures.KINDS}


def _counts(classes: Sequence[str], right: NDArray[np.float64], kinds: Mapping[Kind, int]) -> list[list[int]]:
    """True spans by row and what they were taken for by column; the last is none."""
    places = {name: number for number, name in enumerate([*classes, None])}
    counts = np.zeros((len(places), len(places)), dtype=np.int64)
    np.fill_diagonal(counts[:-1, :-1], right)
    for (_, true, predicted), count in kinds.items():
        counts[places[true], places[predicted]] += count
    rows: list[list[int]] = counts.tolist()
    return rows


def _per_type(classes: Sequence[str], sums: NDArray[np.float64], kinds: Mapping[Kind, int]) -> list[TypeMetrics]:
    scores = figures.scores(*sums)
    mistakes: dict[str | None, Counter[str]] = defaultdict(Counter)
    for (kind, true, predicted), count in kinds.items():
        mistakes[predicted if kind == INVENTED else true][kind] += count
    return [
        TypeMetrics(
            type=name,
            support=int(sums[1][i]),
            predicted=int(sums[2][i]),
            mistakes=dict(mistakes[name]),
            **{metric: float(values[i]) for metric, values in scores.items()},
        )
        for i, name in enumerate(classes)
    ]


def _worst(
    kept: Path,
    ordered: Sequence[Kind],
    kinds: Mapping[Kind, int],
    examples: Mapping[Kind, Sequence[tuple[int, Pair]]],
) -> list[Mistake]:
    wanted = sorted({number for kind in ordered for number, _ in examples[kind]})
    rows = pl.scan_parquet(kept, glob=False, row_index_name="place").select("place", "preview")
    shown = rows.filter(pl.col("place").is_in(wanted)).collect()
    previews = dict(shown.iter_rows())
    return [
        Mistake(
            kind=kind[0],
            type=kind[1],
            predicted=kind[2],
            count=kinds[kind],
            examples=[marked(str(previews[number]), pair) for number, pair in examples[kind]],
        )
        for kind in ordered
    ]


def marked(text: str, pair: Pair) -> str:
    """The text around a mistake: the true span in [ ], the answered one in { }."""
    spans = [(span, marks) for span, marks in ((pair.true, "[]"), (pair.predicted, "{}")) if span is not None]
    first, last = min(span.start for span, _ in spans), max(span.end for span, _ in spans)
    # Behind one another at one place: what ends there, then what begins there; the answer stands within the truth.
    marks = sorted(
        [(span.start, 1, order, ends[0]) for order, (span, ends) in enumerate(spans)]
        + [(span.end, 0, -order, ends[1]) for order, (span, ends) in enumerate(spans)]
    )
    start, stop = max(first - _AROUND, 0), min(last + _AROUND, len(text))
    parts, at = ["..." if start else ""], start
    for place, _, _, mark in marks:
        parts += [text[at:place], mark]
        at = max(place, at)
    return "".join([*parts, text[at:stop], "..." if stop < len(text) else ""])


def _told(mistake: Mistake) -> str:
    told = mistake.type or mistake.predicted or NONE
    if mistake.kind in (TYPE, BOTH):
        told += f" taken for {mistake.predicted}"
    told += {TYPE: "", BOTH: " with other bounds", BOUNDS: " with other bounds"}.get(mistake.kind, f" {mistake.kind}")
    such_as = f", such as “{mistake.examples[0]}”" if mistake.examples else ""
    return f"{told} ({mistake.count} spans{such_as})"
