"""From probabilities to a label, or to "none of these"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictInt

from shipway.recipes.arrays import Columns
from shipway.recipes.base import Encoder
from shipway.specs import Spec


class Params(Spec):
    """What a request may ask.

    Attributes:
        top_k: How many labels to name with their probabilities, or "all".
    """

    top_k: Annotated[
        Annotated[StrictInt, Field(ge=1)] | Literal["all"], Field(description='a whole number from 1 or "all"')
    ] = 5


class Settings(Spec):
    """What an endpoint is set to.

    Attributes:
        threshold: Of the top probability; below it the answer is "none of these". None: never that. "calibrated": what
            evaluation found; never where it found none.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["calibrated"] | None = "calibrated"

    @property
    def least(self) -> float | None:
        """The threshold as a number; None where there is none."""
        return None if isinstance(self.threshold, str) else self.threshold


class ClassificationAnswers:
    """Implements `shipway.tasks.base.Answers`."""

    Params: type[BaseModel] = Params
    Settings: type[BaseModel] = Settings
    tensors: Mapping[str, tuple[str, list[int]]] = {
        "label": ("BYTES", [-1]),
        "out_of_scope": ("BOOL", [-1]),
        "probability": ("FP32", [-1]),
        "labels": ("BYTES", [-1, -1]),
        "probabilities": ("FP32", [-1, -1]),
    }
    headings = ["label", "probability", "next"]  # noqa: RUF012

    def decode(
        self, encoder: Encoder, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """`probabilities`, float32 (n, classes)."""
        return {"probabilities": np.asarray(outputs["probabilities"], dtype=np.float32)}

    def documents(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> list[dict[str, Any]]:
        """`label` (null: none of these), `out_of_scope`, `probability` (of the top class) and `probabilities` (label ->
        probability, highest first); numbers are float32."""
        probabilities, threshold = _probabilities(columns), settings.least
        result = []
        for row, ids in zip(probabilities, top(probabilities, params.top_k), strict=True):
            best = row[ids[0]]
            is_out = threshold is not None and bool(best < threshold)
            result.append(
                {
                    "label": None if is_out else labels[ids[0]],
                    "out_of_scope": is_out,
                    "probability": best,
                    "probabilities": {labels[i]: row[i] for i in ids},
                }
            )
        return result

    def outputs(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> dict[str, NDArray[Any]]:
        """BYTES cannot be null, so "none of these" is an empty label beside `out_of_scope`."""
        probabilities, threshold = _probabilities(columns), settings.least
        ids = top(probabilities, params.top_k)
        values = np.take_along_axis(probabilities, ids, axis=1)
        names = np.array(labels, dtype=object)
        is_out = np.zeros(len(values), bool) if threshold is None else values[:, 0] < threshold
        return {
            "label": np.where(is_out, "", names[ids[:, 0]]),
            "out_of_scope": is_out,
            "probability": values[:, 0],
            "labels": names[ids],
            "probabilities": values,
        }

    def line(self, answer: Mapping[str, Any]) -> list[str]:
        others = list(answer["probabilities"].items())[1:3]
        return [
            answer["label"] if not answer["out_of_scope"] else "(none of these)",
            f"{answer['probability']:.3f}",
            ", ".join(f"{label} {probability:.3f}" for label, probability in others),
        ]

    def everything(self) -> BaseModel:
        return Params(top_k="all")

    def differences(
        self, labels: Sequence[str], expected: Columns, served: list[dict[str, Any]], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Two classes that the kept prediction itself has closer than twice the tolerance may change places."""
        kept = _probabilities(expected).astype(np.float64)
        given = np.full_like(kept, np.nan)
        for i, answer in enumerate(served):
            probabilities = answer.get("probabilities")
            if isinstance(probabilities, Mapping) and set(probabilities) == set(labels):
                given[i] = [probabilities[label] for label in labels]
        gap = np.abs(kept - given)
        gap[~np.isfinite(gap)] = np.inf
        rows = np.arange(len(kept))
        best, served_best = kept.argmax(axis=1), given.argmax(axis=1)
        is_tie = kept[rows, best] - kept[rows, served_best] <= 2 * tolerance
        return gap.max(axis=1, initial=0.0), (best == served_best) | is_tie


def top(probabilities: NDArray[np.float32], k: int | str) -> NDArray[np.intp]:
    """Class ids of the `k` highest probabilities by row, highest first; (n, k). Ties go to the lower id."""
    order: NDArray[np.intp] = np.argsort(-probabilities, axis=1, kind="stable")
    return order if isinstance(k, str) else order[:, :k]


def _probabilities(columns: Columns) -> NDArray[np.float32]:
    probabilities = columns["probabilities"]
    assert isinstance(probabilities, np.ndarray)
    return probabilities
