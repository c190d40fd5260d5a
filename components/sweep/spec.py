"""SweepSpec: Katib's own vocabulary, and a short form for people.

```yaml
objective: maximize val_accuracy
algorithm: multivariate-tpe
parameters:                      # a dict of lists alone is a grid
  learning_rate: loguniform(5e-4, 1e-2)
  dropout: uniform(0.2, 0.6)
  architecture: [bag, cnn]
maxTrialCount: 12
```
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from shipway.components.sweep import algorithms
from shipway.components.sweep.budget import Budget
from shipway.components.sweep.expressions import (
    LARGEST,
    categories,
    choice,
    lograndint,
    loguniform,
    parse_expression,
    quniform,
    randint,
    uniform,
)
from shipway.components.train.spec import TrainingSpec
from shipway.errors import nearest
from shipway.specs import Spec
from shipway.training.spec import AUTO

__all__ = [
    "Algorithm",
    "EarlyStopping",
    "FeasibleSpace",
    "Objective",
    "Parameter",
    "SweepSpec",
    "choice",
    "lograndint",
    "loguniform",
    "quniform",
    "randint",
    "uniform",
]

Scalar = bool | int | float | str
Scalars = list[Scalar]  # an alias, since FeasibleSpace has a field called `list`
Strategy = Literal["latest", "max", "min"]
MOST_STEPS = 1_000_000_000
MOST_GRID_VALUES = 100_000  # of one parameter


class MetricStrategy(Spec):
    """Which of a metric's reported values counts."""

    name: str
    value: Strategy


class Objective(Spec):
    """What to optimise: a metric that the trial reports. `auto` is the recipe's to say (`core.with_objective`)."""

    type: Literal["auto", "maximize", "minimize"] = AUTO
    objectiveMetricName: str = AUTO  # of the eval split
    goal: float | None = None  # reached: no further trial
    additionalMetricNames: list[str] = Field(default_factory=list)
    metricStrategies: list[MetricStrategy] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """`val_loss`, `minimize val_loss` or `minimize` alone."""
        if not isinstance(value, str):
            return value
        direction, _, metric = value.strip().rpartition(" ")
        if metric in ("", "maximize", "minimize"):
            direction, metric = metric, AUTO
        return {"type": direction or AUTO, "objectiveMetricName": metric}

    @model_validator(mode="after")
    def _complete(self) -> Objective:
        if self.objectiveMetricName in self.additionalMetricNames:
            raise ValueError(f"additionalMetricNames repeats the objective {self.objectiveMetricName!r}")
        # Katib would take a metric's maximum or minimum over the epochs where no strategy is given; a model is
        # served as it is at the end.
        given = {strategy.name for strategy in self.metricStrategies}
        for name in [self.objectiveMetricName, *self.additionalMetricNames]:
            if name not in given and name != AUTO:
                self.metricStrategies.append(MetricStrategy(name=name, value="latest"))
        return self

    def strategy(self, metric: str) -> Strategy:
        """How a metric's final value comes from what was reported."""
        return next((stated.value for stated in self.metricStrategies if stated.name == metric), "latest")


class Setting(Spec):
    """A name and a value as text, as Katib passes settings on."""

    name: str
    value: str

    @field_validator("value", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return _plain(value) if isinstance(value, int | float) else value


class _Configured(Spec):
    algorithmName: str
    algorithmSettings: list[Setting] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"algorithmName": value} if isinstance(value, str) else value

    @field_validator("algorithmSettings", mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return [{"name": name, "value": setting} for name, setting in value.items()]
        return value

    def _check(self, known: Mapping[str, Mapping[str, algorithms.Reader]]) -> None:
        if self.algorithmName not in known:
            raise ValueError(
                f"unknown algorithm {self.algorithmName!r}; expected one of {', '.join(known)}"
                f"{nearest(self.algorithmName, known)}"
            )
        allowed = known[self.algorithmName]
        for setting in self.algorithmSettings:
            if setting.name not in allowed:
                raise ValueError(
                    f"unknown setting {setting.name!r} of {self.algorithmName}; "
                    f"expected one of {', '.join(allowed) or 'none'}{nearest(setting.name, allowed)}"
                )
            try:
                allowed[setting.name](setting.value)
            except ValueError as error:
                why = str(error) if str(error).startswith("below") else "not a number"
                raise ValueError(f"setting {setting.name}={setting.value!r} is {why}") from error

    def settings(self) -> dict[str, Any]:
        """The settings, read."""
        known = {**algorithms.ALL, **algorithms.EARLY_STOPPING}[self.algorithmName]
        return {setting.name: known[setting.name](setting.value) for setting in self.algorithmSettings}


class Algorithm(_Configured):
    """How the next parameters are chosen."""

    algorithmName: str = "multivariate-tpe"

    @model_validator(mode="after")
    def _known(self) -> Algorithm:
        self._check(algorithms.ALL)
        return self


class EarlyStopping(_Configured):
    """When a trial that falls behind is given up: `medianstop`."""

    algorithmName: str = "medianstop"

    @model_validator(mode="after")
    def _known(self) -> EarlyStopping:
        self._check(algorithms.EARLY_STOPPING)
        return self


class FeasibleSpace(Spec):
    """Bounds (both included) or values of a parameter."""

    min: float | None = None
    max: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    list: Scalars | None = None
    distribution: Literal["uniform", "logUniform"] | None = None

    @field_validator("list", mode="before")
    @classmethod
    def _single_values(cls, values: Any) -> Any:
        for value in values if isinstance(values, list) else []:
            if not isinstance(value, Scalar):
                raise ValueError(
                    f"a choice is a number, a text, true or false, not {value!r:.80}; give it a name, and look up in "
                    "the function what that stands for"
                )
        return values

    @field_validator("list", mode="after")
    @classmethod
    def _whole_numbers(cls, values: Any) -> Any:
        """KFP turns every number into a float; `64.0` in a list means 64."""
        return None if values is None else [_whole(value) for value in values]


class Parameter(Spec):
    """One parameter of the recipe and the values it may take."""

    name: str
    parameterType: Literal["int", "double", "discrete", "categorical"]
    feasibleSpace: FeasibleSpace

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        space, kind = self.feasibleSpace, self.parameterType
        if kind in ("discrete", "categorical"):
            if not space.list:
                raise ValueError(f"feasibleSpace of a {kind} parameter needs a list of values")
            if any(bound is not None for bound in (space.min, space.max, space.step, space.distribution)):
                raise ValueError(f"feasibleSpace of a {kind} parameter is a list; min, max and step do not apply")
            if kind == "discrete":
                space.list = sorted(_number(value) for value in space.list)
            if len({repr(value) for value in space.list}) < len(space.list):
                raise ValueError("feasibleSpace.list holds a value twice")
            return self
        if space.list is not None:
            raise ValueError(f"feasibleSpace.list does not apply to {kind}; use discrete or categorical")
        if space.min is None or space.max is None:
            raise ValueError(f"feasibleSpace of {kind} needs min and max")
        if space.min > space.max:
            raise ValueError(f"feasibleSpace.min {space.min:g} is above feasibleSpace.max {space.max:g}")
        if space.distribution == "logUniform" and space.min <= 0:
            raise ValueError(f"feasibleSpace.min {space.min:g} must be above 0 for logUniform")
        if space.distribution == "logUniform" and space.step is not None:
            raise ValueError("feasibleSpace.step does not apply to logUniform")
        if max(abs(space.min), abs(space.max)) > LARGEST:
            raise ValueError("feasibleSpace.min and max must lie between -2^63 and 2^63")
        if space.step is not None and space.max - space.min > MOST_STEPS * space.step:
            raise ValueError(f"feasibleSpace.step {space.step:g} makes more than {MOST_STEPS:,} values")
        if kind == "int" and any(bound is not None and bound % 1 for bound in (space.min, space.max, space.step)):
            raise ValueError("feasibleSpace of an int parameter holds whole numbers")
        return self


class SweepSpec(Spec):
    """A search for the best parameters; see the module's first lines for the short form.

    `maxTrialCount` counts every trial that ended, whichever way; 0 and 1 mean the defaults alone. The first trial is
    always the training's own parameters, so that a sweep never ends below them.
    """

    objective: Objective = Field(default_factory=Objective)
    algorithm: Algorithm = Field(default_factory=Algorithm)
    parameters: list[Parameter] = Field(default_factory=list)
    parallelTrialCount: Annotated[int, Field(ge=1)] = 2
    maxTrialCount: Annotated[int, Field(ge=0)] = 12
    maxFailedTrialCount: Annotated[int, Field(ge=0)] = 3
    earlyStopping: EarlyStopping | None = None
    budget: Budget | None = None
    engine: Literal["optuna", "katib"] = "optuna"  # who searches: our step, or the cluster's Katib
    seed: int = 1  # of the search; trials train with the training's own seed
    trial_deadline_s: Annotated[float, Field(gt=0)] | None = None  # one trial; None: the training's
    function: str = ""  # `package.module:name` of training.code, called with a trial's parameters; empty: the recipe
    training: TrainingSpec | None = None  # what every trial trains; `plan` fills it in

    @field_validator("parameters", mode="before")
    @classmethod
    def _short_parameters(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return [{"name": name, **_short_space(name, space)} for name, space in value.items()]

    @field_validator("earlyStopping", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value in ("none", "", {}) else value

    @model_validator(mode="before")
    @classmethod
    def _lists_alone_are_a_grid(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or value.get("algorithm") is not None:
            return value
        spaces = value.get("parameters")
        if isinstance(spaces, Mapping) and spaces and all(isinstance(space, list) for space in spaces.values()):
            combinations = 1
            for space in spaces.values():
                combinations *= max(len(space), 1)
            return {"maxTrialCount": combinations, **value, "algorithm": "grid"}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> SweepSpec:
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"parameters: {twice!r} is given twice")
        name = self.algorithm.algorithmName
        if self.engine == "optuna" and name not in algorithms.LOCAL:
            raise ValueError(
                f"algorithm: {name!r} runs on a cluster's Katib only (engine: katib); here choose one of "
                f"{', '.join(algorithms.LOCAL)}"
            )
        if self.engine == "katib" and name in algorithms.HERE_ONLY:
            raise ValueError(f"algorithm: Katib has no {name!r}; leave engine out, or choose hyperband")
        if name == "grid":
            for parameter in self.parameters:
                if parameter.parameterType == "double" and parameter.feasibleSpace.step is None:
                    raise ValueError(f"parameters: grid needs a step for {parameter.name!r}; quniform(low, high, step)")
                space = parameter.feasibleSpace
                if space.list is None and (space.max or 0) - (space.min or 0) > MOST_GRID_VALUES * (space.step or 1):
                    raise ValueError(f"parameters: {parameter.name!r} has too many values for a grid; give a step")
        if self.function and not re.fullmatch(r"[\w.]+:\w+", self.function):
            raise ValueError(f"function: expected 'package.module:name', got {self.function!r}")
        return self


def _short_space(name: str, space: Any) -> dict[str, Any]:
    """One value of the short form; `list` is a choice, a mapping is Katib's, a text an expression."""
    if isinstance(space, Mapping) and {"parameterType", "feasibleSpace"} & space.keys():
        return dict(space)
    if isinstance(space, list | tuple):
        return categories(space)
    if isinstance(space, str):
        try:
            return parse_expression(space)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    raise ValueError(f"{name}: expected a list of values or uniform(low, high) and the like, got {space!r}")


def _whole(value: Scalar) -> Scalar:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Scalar) -> int | float:
    """A discrete value; Katib writes them as text."""
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"feasibleSpace.list of a discrete parameter holds numbers, not {value!r}") from error
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise ValueError(f"feasibleSpace.list of a discrete parameter holds numbers below 2^63, not {value!r}")
    return int(number) if number.is_integer() else number


def _plain(value: Scalar) -> str:
    """A setting's value as Katib wants it: text, whole numbers without a point."""
    return str(_whole(value))
