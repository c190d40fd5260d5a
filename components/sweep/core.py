"""What a sweep decides without running anything: checks against the recipe, trial documents, the winner."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from shipway.artifacts import TrialRecord
from shipway.components.sweep.space import Space, Values
from shipway.components.sweep.spec import Objective, Parameter, SweepSpec
from shipway.components.train.core import as_chosen
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec, nearest
from shipway.functions.declared import Declared, objective_of
from shipway.functions.reporting import MOST_POINTS
from shipway.recipes import Recipe, load_recipe
from shipway.recipes.base import ChecksParams
from shipway.specs import parse
from shipway.tasks import Task, task_of
from shipway.training.spec import AUTO, end_metrics, is_lower_better, reported_metrics


def check_parameters(spec: SweepSpec, params_model: type[BaseModel], recipe: str = "") -> None:
    """Refuses what no trial could run, before anything runs.

    Args:
        spec: The sweep.
        params_model: The recipe's `Params`.
        recipe: Its name, for messages.

    Raises:
        InvalidSpec: a parameter the recipe does not have, or a value that it does not allow.
    """
    base = dict(spec.training.params) if spec.training else {}
    names = list(params_model.model_fields)
    for index, parameter in enumerate(spec.parameters):
        where = f"sweep.parameters[{index}]"
        if parameter.name not in names:
            raise InvalidSpec(
                f"recipe {recipe!r} has no parameter", field=f"{where}.name", given=parameter.name, allowed=names
            )
        for field, value in _extremes(parameter):
            problem = _refusal(params_model, {**base, parameter.name: value}, parameter.name)
            if problem:
                raise InvalidSpec(
                    f"{parameter.name}={value!r} is refused: {problem}",
                    field=f"{where}.feasibleSpace.{field}",
                    given=value,
                )


def check_together(spec: SweepSpec, recipe: Recipe, encoder_params: BaseModel) -> None:
    """Refuses values that no trial could have beside the encoder, where the recipe looks at both (`ChecksParams`).

    Raises:
        InvalidSpec: names the value; the reason is the recipe's.
    """
    if not isinstance(recipe, ChecksParams):
        return
    base = dict(spec.training.params) if spec.training else {}
    for index, parameter in enumerate(spec.parameters):
        for field, value in _extremes(parameter):
            where = f"sweep.parameters[{index}].feasibleSpace.{field}"
            params = parse(recipe.Params, {**base, parameter.name: value}, where)
            try:
                recipe.check_params(params, encoder_params)
            except InvalidSpec as error:
                raise InvalidSpec(f"{parameter.name}={value!r}: {error}", field=where, given=value) from error


def recipe_of_trials(spec: SweepSpec) -> Recipe:
    """What the trials train."""
    return load_recipe((spec.training or TrainingSpec()).recipe)


def task_of_trials(spec: SweepSpec) -> Task:
    """What the trials learn: the task of the training's recipe."""
    return task_of(recipe_of_trials(spec))


def with_objective(spec: SweepSpec, function: Declared | None = None) -> SweepSpec:
    """The sweep with its objective written out, where the spec leaves it open.

    Args:
        spec: The sweep. Of a recipe, it is the first metric of its task, in the direction that the task calls better.
        function: What the sweep's own function declares, where its source is known.

    Raises:
        InvalidSpec: the function has several metrics, and nothing says which counts.
    """
    objective = spec.objective
    if AUTO not in (objective.type, objective.objectiveMetricName):
        return spec
    given = objective.model_dump()
    metric, direction = given["objectiveMetricName"], given["type"]
    if spec.function:
        metric, direction = objective_of(function, metric, direction)
    else:
        metric = reported_metrics(recipe_of_trials(spec))[0] if metric == AUTO else metric
        if direction == AUTO:
            direction = "minimize" if is_lower_better(task_of_trials(spec), metric) else "maximize"
    given |= {"objectiveMetricName": metric, "type": direction}
    return spec.model_copy(update={"objective": Objective.model_validate(given)})


def check_function(spec: SweepSpec, function: Declared) -> None:
    """Refuses what the sweep's own function could not be called with.

    Raises:
        InvalidSpec: a parameter that it does not take or lacks, or a value that its annotation excludes.
    """
    function.check_needs_no_context()
    fixed = spec.training.params if spec.training else {}
    function.check_names({**fixed, **{each.name: None for each in spec.parameters}}, "sweep.parameters")
    for index, parameter in enumerate(spec.parameters):
        for field, value in _extremes(parameter):
            where = f"sweep.parameters[{index}].feasibleSpace.{field}"
            function.check_kind(parameter.name, value, where)


def check_objective(spec: SweepSpec) -> None:
    """Refuses a metric that no trial will report; what a function of the user's own reports, only it knows.

    Raises:
        InvalidSpec: names the metrics there are.
    """
    if spec.function:
        return
    objective, task = spec.objective, task_of_trials(spec)
    reported = reported_metrics(recipe_of_trials(spec))
    known = (*reported, *end_metrics(task))
    given = [("objectiveMetricName", objective.objectiveMetricName, (*reported, AUTO))]
    given += [(f"additionalMetricNames[{i}]", name, known) for i, name in enumerate(objective.additionalMetricNames)]
    given += [(f"metricStrategies[{i}].name", each.name, known) for i, each in enumerate(objective.metricStrategies)]
    for field, name, allowed in given:
        if name not in allowed:
            raise InvalidSpec(
                "no training reports a metric", field=f"sweep.objective.{field}", given=name, allowed=allowed
            )


def _extremes(parameter: Parameter) -> Iterable[tuple[str, Any]]:
    space = parameter.feasibleSpace
    if space.list is not None:
        yield from ((f"list[{i}]", value) for i, value in enumerate(space.list))
    else:
        whole = parameter.parameterType == "int"
        for field, bound in (("min", space.min), ("max", space.max)):
            yield field, int(bound or 0) if whole else bound


def _refusal(model: type[BaseModel], document: Mapping[str, Any], name: str) -> str:
    try:
        model.model_validate(dict(document))
    except ValidationError as error:
        for problem in error.errors():
            if problem["loc"][:1] == (name,):
                message = str(problem["msg"]).removeprefix("Value error, ")
                return message[:1].lower() + message[1:]
    return ""


def defaults(spec: SweepSpec, params_model: type[BaseModel] | None) -> Values:
    """The swept parameters as the training would have them without a sweep.

    A value outside the search space is moved to the nearest allowed one: the space is what its author allows.
    """
    known: dict[str, Any] = dict(spec.training.params) if spec.training else {}
    if params_model is not None:
        known = params_model.model_validate(known).model_dump(mode="json")
    space = Space(spec.parameters)
    internal = {
        name: axis.encode(known[name]) if name in known else axis.from_unit(0.5) for name, axis in space.axes.items()
    }
    return space.decode(internal)


def trial_training(spec: SweepSpec, values: Mapping[str, Any]) -> TrainingSpec:
    """The training of one trial: one worker, which sees the same global batch as all of the training's together."""
    training, _ = as_chosen(spec.training or TrainingSpec())
    return training.model_copy(
        update={
            "params": {**training.params, **values},
            "strategy": "single",
            "workers": 1,
            "batch_size": training.batch_size * training.workers,
            "gradient_compression": "none",
            "parameter_servers": 1,
            "resources": training.resources.of_one(),
        }
    )


def most_trials(spec: SweepSpec) -> int:
    """How many trials the sweep makes at most."""
    budgeted = spec.budget.trials if spec.budget else None
    return spec.maxTrialCount if budgeted is None else min(spec.maxTrialCount, budgeted)


def search_in_words(spec: SweepSpec) -> str:
    """`asha 30 trials, 2 at a time, at most 12 GPU hours`, for the plan."""
    budget = spec.budget
    named = (("gpu_hours", "GPU hours"), ("cpu_hours", "CPU hours"), ("money", "in money")) if budget else ()
    limits = [f", at most {limit:g} {words}" for name, words in named if (limit := getattr(budget, name)) is not None]
    most = f"{spec.algorithm.algorithmName} {most_trials(spec)} trials, {spec.parallelTrialCount} at a time"
    return most + "".join(limits)


def trial_limit_s(spec: SweepSpec) -> float | None:
    """Seconds that one trial may take; None: as long as it likes."""
    return spec.trial_deadline_s or (spec.training.deadline_s if spec.training else None)


def final_value(objective: Objective, metrics: Mapping[str, float], history: list[list[float]]) -> float:
    """The objective that a finished trial is judged by.

    Raises:
        ValueError: the trial did not report it, or it is not a finite number.
    """
    name = objective.objectiveMetricName
    strategy = objective.strategy(name)
    seen = [value for _, value in history if math.isfinite(value)]
    if strategy != "latest" and seen:
        return max(seen) if strategy == "max" else min(seen)
    value = metrics.get(name, history[-1][1] if history else None)
    if value is None:
        raise ValueError(
            f"the trial reported no metric {name!r}; it reported {', '.join(sorted(metrics)) or 'none'}"
            f"{nearest(name, metrics)}"
        )
    if not math.isfinite(value):
        raise ValueError(f"the trial's {name} is {value}")
    return float(value)


def thinned(history: list[list[float]]) -> list[list[float]]:
    """A trial's [step, value] as its record keeps them: of thousands every so many, the extremes and the last.

    A page of a sweep holds every trial's.
    """
    every = -(-len(history) // MOST_POINTS) or 1
    if every == 1:
        return history
    finite = [index for index, (_, value) in enumerate(history) if math.isfinite(value)]
    kept = {*range(0, len(history), every), len(history) - 1}
    kept |= {find(finite, key=lambda index: history[index][1]) for find in (min, max) if finite}
    return [history[index] for index in sorted(kept)]


def best_trial(
    objective: Objective, trials: Iterable[TrialRecord], defaults: Mapping[str, Any] | None = None
) -> TrialRecord | None:
    """The best finished trial; the earlier one of equals.

    Args:
        objective: What to optimise.
        trials: In any order.
        defaults: The parameters without a sweep. A trial that had them is taken before a better one, unless that is
            ahead by more than one standard error, which trials report as `<objective>_stderr`: the best of many
            trials on few eval rows owes that to luck as much as to its parameters (decision 0074).
    """
    sign = 1 if objective.type == "maximize" else -1
    finished = sorted((trial for trial in trials if trial.state == "Succeeded"), key=lambda trial: trial.number)
    if not finished:
        return None

    def value(trial: TrialRecord) -> float:
        return sign * final_value(objective, trial.metrics, trial.history)

    best = max(finished, key=value)
    usual = next((trial for trial in finished if defaults and is_same_choice(trial.params, defaults)), best)
    return usual if value(best) - value(usual) <= best.metrics.get(stderr_of(objective), 0.0) else best


def is_same_choice(params: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether these are one choice; a search keeps logarithms, and may give 0.0020000000000000005 for 0.002."""
    return params.keys() == others.keys() and all(
        math.isclose(value, others[name]) if isinstance(value, float) else value == others[name]
        for name, value in params.items()
    )


def stderr_of(objective: Objective) -> str:
    """The name under which a trial may report the standard error of its objective."""
    return f"{objective.objectiveMetricName}_stderr"
