"""A search space as plain values: grid, unit cube, nearest point, and what an optimiser sees of it.

The optimiser works on *internal* values: a number for `int` and `double`, an index into the list for `discrete`
(sorted, so that neighbours are neighbours) and `categorical`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shipway.components.sweep.spec import Parameter, Scalar

Values = dict[str, Scalar]


@dataclass(frozen=True)
class Axis:
    """One parameter."""

    parameter: Parameter

    @property
    def values(self) -> list[Scalar] | None:
        """The listed values, or None for a range."""
        return self.parameter.feasibleSpace.list

    @property
    def is_log(self) -> bool:
        return self.parameter.feasibleSpace.distribution == "logUniform"

    @property
    def step(self) -> float | None:
        """Distance of neighbours in a range; 1 for whole numbers, None for a continuum."""
        space = self.parameter.feasibleSpace
        return space.step or (1.0 if self.parameter.parameterType == "int" else None)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest internal value; the highest is one that the step reaches."""
        space = self.parameter.feasibleSpace
        if space.list is not None:
            return 0, len(space.list) - 1
        low, high = float(space.min or 0), float(space.max or 0)
        if self.step is not None:
            high = low + math.floor((high - low) / self.step + 1e-9) * self.step
        return low, high

    def decode(self, internal: float) -> Scalar:
        """The parameter's value."""
        if self.values is not None:
            return self.values[int(internal)]
        return round(internal) if self.parameter.parameterType == "int" else float(internal)

    def holds(self, value: Any) -> bool:
        """Whether the parameter may have this value."""
        if self.values is not None:
            return any(value == each and type(value) is type(each) for each in self.values)
        low, high = self.bounds
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (low <= value <= high or math.isclose(value, low) or math.isclose(value, high))

    def encode(self, value: Any) -> float:
        """The internal value nearest to a parameter's value: clipped, and moved to the closest step or entry."""
        low, high = self.bounds
        if self.values is not None:
            if value in self.values:
                return self.values.index(value)
            if self.parameter.parameterType == "categorical" or not isinstance(value, int | float):
                return 0
            return min(range(len(self.values)), key=lambda i: abs(float(self.values[i]) - value))  # type: ignore[index]
        number = min(max(float(value), low), high)
        return number if self.step is None else self._snap(number)

    def from_unit(self, share: float) -> float:
        """The internal value at a share in [0, 1) of the axis."""
        low, high = self.bounds
        if self.values is not None:
            return min(int(share * len(self.values)), len(self.values) - 1)
        if self.is_log:
            return (
                min(max(math.exp(math.log(low) + share * (math.log(high) - math.log(low))), low), high)
                if self.step is None
                else self._snap(math.exp(_blend(math.log(low - 0.5), math.log(high + 0.5), share)))
            )
        if self.step is not None:
            return self._snap(low - self.step / 2 + share * (high - low + self.step))
        return low + share * (high - low)

    @property
    def size(self) -> float:
        """How many values there are; infinite for a continuum."""
        low, high = self.bounds
        if self.values is not None:
            return len(self.values)
        return math.inf if self.step is None else round((high - low) / self.step) + 1

    def grid(self) -> list[float]:
        """Every internal value.

        Raises:
            ValueError: the axis is a continuum.
        """
        low, high = self.bounds
        if self.values is not None:
            return list(range(len(self.values)))
        if self.step is None:
            raise ValueError(f"{self.parameter.name}: a continuum has no grid; give a step")
        return [low + self.step * i for i in range(round((high - low) / self.step) + 1)]

    def _snap(self, number: float) -> float:
        low, high = self.bounds
        step = self.step or 1.0
        return min(max(low + round((number - low) / step) * step, low), high)


def _blend(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


class Space:
    """All parameters of a sweep."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.axes = {parameter.name: Axis(parameter) for parameter in parameters}

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether these are parameters of this space: its names, and values that it allows."""
        return values.keys() == self.axes.keys() and all(axis.holds(values[name]) for name, axis in self.axes.items())

    def decode(self, internal: Mapping[str, float]) -> Values:
        """Parameters that the internal values mean."""
        return {name: axis.decode(internal[name]) for name, axis in self.axes.items()}

    def encode(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Internal values nearest to the given parameters."""
        return {name: axis.encode(values[name]) for name, axis in self.axes.items()}

    def from_unit(self, shares: Sequence[float]) -> dict[str, float]:
        """Internal values at a point of the unit cube."""
        return {name: axis.from_unit(share) for (name, axis), share in zip(self.axes.items(), shares, strict=True)}

    def grid(self) -> Iterator[dict[str, float]]:
        """Every combination of internal values, the last parameter fastest."""
        for point in itertools.product(*(axis.grid() for axis in self.axes.values())):
            yield dict(zip(self.axes, point, strict=True))

    @property
    def size(self) -> float:
        """Number of different combinations; infinite with a continuum."""
        return math.prod(axis.size for axis in self.axes.values())
