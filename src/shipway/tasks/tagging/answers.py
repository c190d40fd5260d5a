"""From scores to the tags that a row is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictInt

from shipway.recipes.arrays import Columns
from shipway.recipes.base import Encoder
from shipway.specs import Spec

Scale = Literal["probability", "log_odds"]
SUREST = 2.0**-24  # half a step of float32 below 1: log odds of a score of 0 or 1 are those of this far from it

HALF = 0.5  # what figures are measured at, and the threshold where evaluation found none


class Params(Spec):
    """What a request may ask.

    Attributes:
        top_k: Name this many tags, or "all", whether or not they reach the threshold. None: those that do.
        scale: What scores are told as; None: as the endpoint is set.
    """

    top_k: Annotated[
        Annotated[StrictInt, Field(ge=1)] | Literal["all"] | None,
        Field(description='a whole number from 1, "all" or null'),
    ] = None
    scale: Annotated[Scale | None, Field(description='"probability", "log_odds" or null')] = None


class Settings(Spec):
    """What an endpoint is set to.

    Attributes:
        threshold: A tag is named from this probability on. "calibrated": what evaluation found; 0.5 where it found
            none.
        scale: What scores are told as: a probability p, or log(p / (1 - p)), which still tells apart tags that are all
            but sure: 6.38 and 4.82 are 0.998 and 0.992.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["calibrated"] = "calibrated"
    scale: Scale = "probability"

    @property
    def least(self) -> float:
        """The threshold as a number."""
        return HALF if isinstance(self.threshold, str) else self.threshold


class TaggingAnswers:
    """Implements `shipway.tasks.base.Answers`."""

    Params: type[BaseModel] = Params
    Settings: type[BaseModel] = Settings
    tensors: Mapping[str, tuple[str, list[int]]] = {"tags": ("BYTES", [-1, -1]), "scores": ("FP32", [-1, -1])}
    headings = ["tags"]  # noqa: RUF012

    def decode(
        self, encoder: Encoder, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """`scores`, float32 (n, tags)."""
        return {"scores": np.asarray(outputs["scores"], dtype=np.float32)}

    def documents(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> list[dict[str, Any]]:
        """`tags`: tag and score, highest first; scores are float32."""
        scores = _scores(columns)
        order, named = _chosen(scores, params.top_k, settings.least)
        scores = _told(scores, params.scale or settings.scale)
        return [
            {"tags": [{"tag": labels[i], "score": row[i]} for i in ids[:count]]}
            for row, ids, count in zip(scores, order, named, strict=True)
        ]

    def outputs(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> dict[str, NDArray[Any]]:
        """Behind a row's tags, up to those of the longest row (at least one): empty names and scores of 0."""
        scores = _scores(columns)
        order, named = _chosen(scores, params.top_k, settings.least)
        width = max(int(named.max(initial=0)), 1)
        is_named = np.arange(width) < named[:, None]
        ids, scores = order[:, :width], _told(scores, params.scale or settings.scale)
        return {
            "tags": np.where(is_named, np.array(labels, dtype=object)[ids], ""),
            "scores": np.where(is_named, np.take_along_axis(scores, ids, axis=1), np.float32(0)),
        }

    def line(self, answer: Mapping[str, Any]) -> list[str]:
        return [", ".join(f"{tag['tag']} {tag['score']:.2f}" for tag in answer["tags"]) or "(none)"]

    def everything(self) -> BaseModel:
        return Params(top_k="all", scale="probability")

    def differences(
        self, labels: Sequence[str], expected: Columns, served: list[dict[str, Any]], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """By tag; an answer is the same where each score is on the same side of 0.5, or differs by no more than the
        tolerance."""
        kept = _scores(expected).astype(np.float64)
        given = np.full_like(kept, np.nan)
        for i, answer in enumerate(served):
            scores = _by_tag(answer)
            if scores is not None and set(scores) == set(labels):
                given[i] = [scores[label] for label in labels]
        gap = np.abs(kept - given)
        gap[~np.isfinite(gap)] = np.inf
        is_same = ((kept >= HALF) == (given >= HALF)) | (gap <= tolerance)
        return gap.max(axis=1, initial=0.0), is_same.all(axis=1)


def _chosen(
    scores: NDArray[np.float32], top_k: int | str | None, least: float
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Tag ids by row, highest score first (ties: the lower id), and how many of them are named."""
    order: NDArray[np.intp] = np.argsort(-scores, axis=1, kind="stable")
    rows, tags = scores.shape
    if top_k is None:
        return order, (scores >= least).sum(axis=1)
    return order, np.full(rows, tags if isinstance(top_k, str) else min(top_k, tags))


def _told(scores: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    """Probabilities on the scale that is asked for; finite."""
    if scale == "probability":
        return scores
    inside = np.clip(scores.astype(np.float64), SUREST, 1 - SUREST)
    return np.asarray(np.log(inside / (1 - inside)), dtype=np.float32)


def _by_tag(answer: Mapping[str, Any]) -> dict[str, float] | None:
    """Scores of a served answer by tag; None where it is none."""
    try:
        return {tag["tag"]: float(tag["score"]) for tag in answer["tags"]}
    except (KeyError, TypeError, ValueError):
        return None


def _scores(columns: Columns) -> NDArray[np.float32]:
    scores = columns["scores"]
    assert isinstance(scores, np.ndarray)
    return scores
