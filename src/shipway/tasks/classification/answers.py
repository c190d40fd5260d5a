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

Share = Annotated[float, Field(ge=0, le=1)]


class Params(Spec):
    """What a request may ask.

    Attributes:
        top_k: How many labels to name with their probabilities, or "all".
    """

    top_k: Annotated[
        Annotated[StrictInt, Field(ge=1)] | Literal["all"], Field(description='a whole number from 1 or "all"')
    ] = 5


class BySureness(Spec):
    """A threshold on the sureness; of a model that tells none that is its probability."""

    sureness: Share


class Settings(Spec):
    """What an endpoint is set to.

    Attributes:
        threshold: Below it the answer is "none of these": a number is one of the top probability, a `BySureness` one of
            the sureness. None: never that. "calibrated": what evaluation found; never where it found none.
    """

    threshold: Share | BySureness | Literal["calibrated"] | None = "calibrated"

    def is_out(self, probability: NDArray[np.float32], sureness: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which answers are "none of these", given numbers of each, shape (n,)."""
        if isinstance(self.threshold, BySureness):
            return sureness < self.threshold.sureness
        if isinstance(self.threshold, float):
            return probability < self.threshold
        return np.zeros(len(probability), bool)


class ClassificationAnswers:
    """Implements `shipway.tasks.base.Answers`."""

    Params: type[BaseModel] = Params
    Settings: type[BaseModel] = Settings
    tensors: Mapping[str, tuple[str, list[int]]] = {
        "label": ("BYTES", [-1]),
        "out_of_scope": ("BOOL", [-1]),
        "probability": ("FP32", [-1]),
        "sureness": ("FP32", [-1]),
        "labels": ("BYTES", [-1, -1]),
        "probabilities": ("FP32", [-1, -1]),
    }
    headings = ["label", "probability", "next"]  # noqa: RUF012

    def decode(
        self, encoder: Encoder, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """`probabilities`, float32 (n, classes), and of a model that tells it `sureness`, float32 (n,)."""
        names = [name for name in ("probabilities", "sureness") if name in outputs]
        return {name: np.asarray(outputs[name], dtype=np.float32) for name in names}

    def documents(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> list[dict[str, Any]]:
        """`label` (null: none of these), `out_of_scope`, `probability` (of the top class), of a model that tells it
        `sureness`, and `probabilities` (label -> probability, highest first); numbers are float32."""
        probabilities, sureness = _probabilities(columns), _sureness(columns)
        out = settings.is_out(probabilities.max(axis=1), sureness).tolist()
        return [
            {
                "label": None if out[n] else labels[ids[0]],
                "out_of_scope": out[n],
                "probability": probabilities[n, ids[0]],
                **({"sureness": sureness[n]} if "sureness" in columns else {}),
                "probabilities": {labels[i]: probabilities[n, i] for i in ids},
            }
            for n, ids in enumerate(top(probabilities, params.top_k))
        ]

    def outputs(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> dict[str, NDArray[Any]]:
        """BYTES cannot be null, so "none of these" is an empty label beside `out_of_scope`. `sureness` of a model that
        tells none is its probability: all have the same outputs."""
        probabilities, sureness = _probabilities(columns), _sureness(columns)
        ids = top(probabilities, params.top_k)
        values = np.take_along_axis(probabilities, ids, axis=1)
        names = np.array(labels, dtype=object)
        is_out = settings.is_out(values[:, 0], sureness)
        return {
            "label": np.where(is_out, "", names[ids[:, 0]]),
            "out_of_scope": is_out,
            "probability": values[:, 0],
            "sureness": sureness,
            "labels": names[ids],
            "probabilities": values,
        }

    def line(self, answer: Mapping[str, Any]) -> list[str]:
        others = list(answer["probabilities"].items())[1:3]
        probability, sureness = (
            f"{answer.get(name, answer['probability']):.3f}" for name in ("probability", "sureness")
        )
        return [
            answer["label"] if not answer["out_of_scope"] else "(none of these)",
            probability if sureness == probability else f"{probability}, sureness {sureness}",
            ", ".join(f"{label} {probability:.3f}" for label, probability in others),
        ]

    def everything(self) -> BaseModel:
        return Params(top_k="all")

    def differences(
        self, labels: Sequence[str], expected: Columns, served: list[dict[str, Any]], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Two classes that the kept prediction itself has closer than twice the tolerance may change places. Sureness
        counts where it was kept."""
        kept = _probabilities(expected).astype(np.float64)
        given = np.full_like(kept, np.nan)
        for i, answer in enumerate(served):
            probabilities = answer.get("probabilities")
            if isinstance(probabilities, Mapping) and set(probabilities) == set(labels):
                given[i] = [probabilities[label] for label in labels]
        gap = np.abs(kept - given)
        if "sureness" in expected:
            told = [answer.get("sureness", np.nan) for answer in served]
            gap = np.column_stack([gap, np.abs(_sureness(expected) - np.array(told, dtype=np.float64))])
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


def _sureness(columns: Columns) -> NDArray[np.float32]:
    sureness = columns["sureness"] if "sureness" in columns else _probabilities(columns).max(axis=1)
    assert isinstance(sureness, np.ndarray)
    return sureness
