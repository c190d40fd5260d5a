"""From the served tensor to a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.recipes.arrays import Columns
from shipway.recipes.base import Encoder
from shipway.specs import Spec


class Params(Spec):
    """What a request may ask: nothing."""


class Settings(Spec):
    """What an endpoint is set to: nothing."""


class RegressionAnswers:
    """Implements `shipway.tasks.base.Answers`."""

    Params: type[BaseModel] = Params
    Settings: type[BaseModel] = Settings
    tensors: Mapping[str, tuple[str, list[int]]] = {"value": ("FP32", [-1])}
    headings = ["value"]  # noqa: RUF012

    def decode(
        self, encoder: Encoder, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
    ) -> Columns:
        """`value`, float32 (n,)."""
        return {"value": np.asarray(outputs["value"], dtype=np.float32).reshape(-1)}

    def documents(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> list[dict[str, Any]]:
        return [{"value": value} for value in values(columns)]

    def outputs(self, labels: Sequence[str], columns: Columns, params: Any, settings: Any) -> dict[str, NDArray[Any]]:
        return {"value": values(columns)}

    def line(self, answer: Mapping[str, Any]) -> list[str]:
        return [f"{answer['value']:.6g}"]

    def everything(self) -> BaseModel:
        return Params()

    def differences(
        self, labels: Sequence[str], expected: Columns, served: list[dict[str, Any]], tolerance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Relative to the kept number where that is above 1."""
        kept = values(expected).astype(np.float64)
        given = np.array([_number(answer.get("value")) for answer in served], dtype=np.float64)
        gap = np.abs(kept - given) / np.maximum(np.abs(kept), 1.0)
        gap[~np.isfinite(gap)] = np.inf
        return gap, gap <= tolerance


def values(columns: Columns) -> NDArray[np.float32]:
    """The numbers of predictions."""
    column = columns["value"]
    assert isinstance(column, np.ndarray)
    return column


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float | np.floating) and not isinstance(value, bool) else np.inf
