"""From tags to spans of the caller's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from shipway.recipes.arrays import Columns, Ragged
from shipway.recipes.base import Encoder
from shipway.specs import Spec
from shipway.tasks.spans.tags import SpanEncoder, places

Share = Annotated[float, Field(ge=0, le=1)]
StrictShare = Annotated[float, Field(ge=0, le=1, strict=True)]


class Params(Spec):
    """What a request may ask.

    Attributes:
        least_score: Spans of a lesser score are left out; None: those that the endpoint leaves out.
    """

    least_score: Annotated[StrictShare | None, Field(description="a number from 0 to 1")] = None


class Settings(Spec):
    """What an endpoint is set to.

    Attributes:
        least_score: Spans of a lesser score are left out.
    """

    least_score: Share = 0.0


class SpanAnswers:
    """Implements `shipway.tasks.base.Answers`, `LocatesAnswers` and `QuotesInput`."""

    Params: type[BaseModel] = Params
    Settings: type[BaseModel] = Settings
    tensors: Mapping[str, tuple[str, list[int]]] = {
        "count": ("INT64", [-1]),
        "starts": ("INT64", [-1, -1]),
        "ends": ("INT64", [-1, -1]),
        "types": ("BYTES", [-1, -1]),
        "scores": ("FP32", [-1, -1]),
    }
    headings = ["spans", "least sure"]  # noqa: RUF012

    def decode(
        self, encoder: Encoder, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """starts, ends and types (int64), scores (float32), a span a value; places count tokens, until `locate`.

        A span is as sure as its least sure token.
        """
        tokens = inputs[cast(SpanEncoder, encoder).tokens]
        is_token = (tokens != 0).reshape(*tokens.shape[:2], -1).any(axis=-1)
        rows, firsts, lasts, types = places(np.where(is_token, outputs["tags"], 0))
        edges = np.column_stack([firsts, lasts + 1]) + rows[:, None] * tokens.shape[1]
        flat = np.append(outputs["scores"].astype(np.float32).ravel(), np.float32(1))  # a span may end with the batch
        scores = np.minimum.reduceat(flat, edges.ravel())[::2] if len(rows) else flat[:0]
        offsets = np.searchsorted(rows, np.arange(len(tokens) + 1)).astype(np.int64)
        parts: dict[str, NDArray[Any]] = {
            "starts": firsts.astype(np.int64),
            "ends": lasts + 1,
            "types": types,
            "scores": scores,
        }
        return {name: Ragged(values, offsets) for name, values in parts.items()}

    def locate(self, encoder: Encoder, columns: Columns, values: Sequence[Any]) -> Columns:
        """The same spans, their places in code points of the texts."""
        starts, ends = cast(SpanEncoder, encoder).token_offsets(values)
        first, stop = _ragged(columns, "starts"), _ragged(columns, "ends")
        counts = np.diff(first.offsets)
        begin = np.repeat(starts.offsets[:-1], counts)
        return {
            **columns,
            "starts": Ragged(starts.values[begin + first.values], first.offsets),
            "ends": Ragged(ends.values[begin + stop.values - 1], stop.offsets),
        }

    def documents(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> list[dict[str, Any]]:
        least = _least(params, settings)
        return [
            {
                "spans": [
                    {"start": int(start), "end": int(end), "type": labels[int(kind)], "score": score}
                    for start, end, kind, score in row
                    if score >= least
                ]
            }
            for row in _rows(columns)
        ]

    def outputs(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> dict[str, NDArray[Any]]:
        """Rows of fewer spans than the longest are padded: -1, an empty type, 0."""
        least = _least(params, settings)
        rows = [[span for span in row if span[3] >= least] for row in _rows(columns)]
        width = max(map(len, rows), default=0)
        shape = (len(rows), max(width, 1))
        starts, ends = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
        types, scores = np.full(shape, "", dtype=object), np.zeros(shape, np.float32)
        for i, row in enumerate(rows):
            for j, (start, end, kind, score) in enumerate(row):
                starts[i, j], ends[i, j], types[i, j], scores[i, j] = start, end, labels[int(kind)], score
        count = np.array([len(row) for row in rows], np.int64)
        return {"count": count, "starts": starts, "ends": ends, "types": types, "scores": scores}

    def line(self, answer: Mapping[str, Any]) -> list[str]:
        spans = answer["spans"]
        told = ", ".join(f"{span['type']} {span['start']}-{span['end']}" for span in spans)
        return [told or "(none)", f"{min(span['score'] for span in spans):.3f}" if spans else ""]

    def quoted(self, answer: Mapping[str, Any], line: str) -> list[str]:
        pieces = (" ".join(line[span["start"] : span["end"]].split()) for span in answer["spans"])
        told = [f"{span['type']}: {piece}" for span, piece in zip(answer["spans"], pieces, strict=True)]
        return [", ".join(told) or "(none)", *self.line(answer)[1:]]

    def everything(self) -> BaseModel:
        return Params(least_score=0.0)

    def differences(
        self, labels: Sequence[str], expected: Columns, served: list[dict[str, Any]], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The same answer has the same spans; of others no difference of a score can be told."""
        gaps = np.full(len(served), np.inf)
        for i, (row, answer) in enumerate(zip(_rows(expected), served, strict=True)):
            given = _given(answer)
            if given is not None and [span[:3] for span in given] == [(a, b, labels[int(t)]) for a, b, t, _ in row]:
                pairs = zip(given, row, strict=True)
                gaps[i] = max((abs(float(mine[3]) - float(kept[3])) for mine, kept in pairs), default=0.0)
        gaps[~np.isfinite(gaps)] = np.inf
        return gaps, np.isfinite(gaps)


def _least(params: Any, settings: Any) -> float:
    return float(settings.least_score if params.least_score is None else params.least_score)


def _ragged(columns: Columns, name: str) -> Ragged:
    column = columns[name]
    assert isinstance(column, Ragged)
    return column


def _rows(columns: Columns) -> list[list[tuple[Any, ...]]]:
    """Each row's spans as (start, end, number of the type, score), as they stand in the text."""
    parts = [_ragged(columns, name) for name in ("starts", "ends", "types", "scores")]
    return [list(zip(*(part.row(i) for part in parts), strict=True)) for i in range(len(parts[0]))]


def _given(answer: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
    spans = answer.get("spans")
    names = ("start", "end", "type", "score")
    if not isinstance(spans, list) or not all(isinstance(span, Mapping) and {*names} <= {*span} for span in spans):
        return None
    tuples = [tuple(span[name] for name in names) for span in spans]
    return tuples if all(isinstance(span[3], int | float) or hasattr(span[3], "dtype") for span in tuples) else None
