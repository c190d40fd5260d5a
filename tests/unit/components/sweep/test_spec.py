"""SweepSpec: one vocabulary, two ways to write it, and one clear line for what is wrong."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from pydantic import Field

from shipway.canonical import canonical_json
from shipway.components.sweep import core
from shipway.components.sweep.spec import SweepSpec, choice, lograndint, loguniform, quniform, randint, uniform
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.specs import Spec, parse
from tests.fixtures import other_tasks


class Params(Spec):
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    units: int = Field(default=64, ge=4)
    architecture: str = "bag"


def sweep(**document: Any) -> SweepSpec:
    return parse(SweepSpec, document, "sweep")


def test_yaml_python_and_the_ui_send_one_document_with_one_hash() -> None:
    text = """
    parameters:
      learning_rate: loguniform(0.0005, 0.01)
      dropout: uniform(0.2, 0.7)
      units: [32, 64]
      architecture: choice("bag", "cnn")
    maxTrialCount: 8
    """
    python = {
        "parameters": {
            "learning_rate": loguniform(0.0005, 0.01),
            "dropout": uniform(0.2, 0.7),
            "units": [32, 64],
            "architecture": choice("bag", "cnn"),
        },
        "maxTrialCount": 8,
    }
    ui = json.loads(json.dumps(yaml.safe_load(text)), parse_int=float)  # KFP turns every number into a float
    hashes = {canonical_json(parse(SweepSpec, document, "sweep")) for document in (text, python, ui)}
    assert len(hashes) == 1
    assert canonical_json(parse(SweepSpec, hashes.pop(), "sweep")) == canonical_json(parse(SweepSpec, text))


def test_the_short_form_means_katibs_feasible_space() -> None:
    found = {
        p.name: (p.parameterType, p.feasibleSpace.model_dump(exclude_none=True))
        for p in sweep(
            parameters={
                "a": uniform(0, 1),
                "b": loguniform(1e-4, 1e-2),
                "c": randint(2, 8),
                "d": lograndint(1, 64),
                "e": quniform(0, 1, 0.25),
                "f": choice(True, False),
                "g": [16.0, 8],
                "h": ["it's", 'a "b"'],
            }
        ).parameters
    }
    assert found == {
        "a": ("double", {"min": 0, "max": 1}),
        "b": ("double", {"min": 1e-4, "max": 1e-2, "distribution": "logUniform"}),
        "c": ("int", {"min": 2, "max": 8}),
        "d": ("int", {"min": 1, "max": 64, "distribution": "logUniform"}),
        "e": ("double", {"min": 0, "max": 1, "step": 0.25}),
        "f": ("categorical", {"list": [True, False]}),
        "g": ("discrete", {"list": [8, 16]}),
        "h": ("categorical", {"list": ["it's", 'a "b"']}),
    }


def test_a_dict_of_lists_is_a_grid_of_all_combinations() -> None:
    spec = sweep(parameters={"units": [16, 32, 64], "architecture": ["bag", "cnn"]})
    assert (spec.algorithm.algorithmName, spec.maxTrialCount) == ("grid", 6)


def test_every_metric_has_a_strategy_since_katib_would_take_the_best_epoch() -> None:
    spec = sweep(objective={"objectiveMetricName": "val_accuracy", "additionalMetricNames": ["val_loss"]})
    assert [(s.name, s.value) for s in spec.objective.metricStrategies] == [
        ("val_accuracy", "latest"),
        ("val_loss", "latest"),
    ]


@pytest.mark.parametrize(
    ("given", "name", "direction"),
    [
        ({}, "val_accuracy", "maximize"),
        ({"objective": {"goal": 0.9}}, "val_accuracy", "maximize"),
        ({"objective": "val_loss"}, "val_loss", "minimize"),
        ({"objective": {"objectiveMetricName": "val_accuracy"}}, "val_accuracy", "maximize"),
        ({"objective": "maximize f1"}, "f1", "maximize"),
        ({"training": {"recipe": other_tasks.NUMBER}}, "val_rmse", "minimize"),
        ({"objective": "val_mae", "training": {"recipe": other_tasks.NUMBER}}, "val_mae", "minimize"),
        ({"objective": "maximize val_mae", "training": {"recipe": other_tasks.NUMBER}}, "val_mae", "maximize"),
    ],
)
def test_what_an_objective_leaves_open_is_the_recipes_to_say(given: dict[str, Any], name: str, direction: str) -> None:
    objective = core.with_objective(sweep(**given)).objective
    assert (objective.objectiveMetricName, objective.type) == (name, direction)
    assert [(strategy.name, strategy.value) for strategy in objective.metricStrategies] == [(name, "latest")]


BAD = [
    ({"maxTrialcount": 3}, "sweep.maxTrialcount: unknown field; .*did you mean 'maxTrialCount'"),
    ({"parameters": {"x": "unifrom(0, 1)"}}, r"x: 'unifrom\(0, 1\)' is no search space.*did you mean 'uniform'"),
    ({"parameters": {"x": "uniform(0)"}}, r"x: 'uniform\(0\)' does not fit uniform\(low, high\)"),
    ({"parameters": {"x": "uniform('a', 2)"}}, "does not fit uniform"),
    ({"parameters": {"x": 3}}, r"x: expected a list of values or uniform\(low, high\) and the like, got 3"),
    ({"parameters": {"x": "uniform(2, 1)"}}, r"feasibleSpace.min 2 is above feasibleSpace.max 1"),
    ({"parameters": {"x": "loguniform(0, 1)"}}, "must be above 0 for logUniform"),
    ({"parameters": {"x": {"parameterType": "double", "feasibleSpace": {"mim": 0, "max": 1}}}},
     r"sweep.parameters\[0\].feasibleSpace.mim: unknown field; expected one of .*did you mean 'min'"),
    ({"parameters": {"x": {"parameterType": "flaot", "feasibleSpace": {"min": 0, "max": 1}}}}, "got 'flaot'"),
    ({"parameters": {"x": {"parameterType": "int", "feasibleSpace": {"min": 0.5, "max": 1}}}}, "whole numbers"),
    ({"parameters": {"x": {"parameterType": "discrete", "feasibleSpace": {"list": ["a"]}}}}, "numbers, not 'a'"),
    ({"parameters": {"x": {"parameterType": "double", "feasibleSpace": {"list": [1]}}}}, "does not apply to double"),
    ({"parameters": {"x": [1, 1.0]}}, "holds a value twice"),
    ({"parameters": {"x": []}}, "needs a list of values"),
    ({"algorithm": "multivariate_tpe"}, "did you mean 'multivariate-tpe'"),
    ({"algorithm": {"algorithmName": "tpe", "algorithmSettings": {"gama": 1}}}, "did you mean 'gamma'"),
    ({"algorithm": {"algorithmName": "hyperband", "algorithmSettings": {"eta": "x"}}}, "eta='x' is not a number"),
    ({"algorithm": "grid", "parameters": {"x": "uniform(0, 1)"}}, "grid needs a step for 'x'"),
    ({"algorithm": "bayesianoptimization"}, "runs on a cluster's Katib only .*; here choose one of random, grid"),
    ({"earlyStopping": "median"}, "did you mean 'medianstop'"),
    ({"objective": {"objectiveMetricName": "a", "additionalMetricNames": ["a"]}}, "repeats the objective"),
    ({"maxTrialCount": -1}, "sweep.maxTrialCount: .*at least 0"),
    ({"function": "no-module"}, "expected 'package.module:name'"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "message"), BAD, ids=[m[:40] for _, m in BAD])
def test_a_mistake_is_one_line_with_path_and_nearest_name(document: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        sweep(**document)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("sweep")
    assert re.search(message, str(caught.value)), caught.value


def test_a_parameter_that_the_recipe_lacks_is_refused_before_anything_runs() -> None:
    with pytest.raises(
        InvalidSpec, match=r"parameters\[0\].name: recipe 'intents' has no parameter 'droput'.*'dropout'"
    ):
        core.check_parameters(sweep(parameters={"droput": uniform(0, 0.5)}), Params, "intents")


@pytest.mark.parametrize(
    ("space", "field"),
    [
        ({"dropout": uniform(0, 1)}, "feasibleSpace.max: dropout=1.0"),
        ({"learning_rate": "uniform(0, 0.1)"}, "feasibleSpace.min: learning_rate=0.0"),
        ({"units": [2, 64]}, r"feasibleSpace.list\[0\]: units=2"),
    ],
)
def test_a_value_that_the_recipe_refuses_is_refused_before_anything_runs(space: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec, match=field):
        core.check_parameters(sweep(parameters=space, algorithm="random"), Params, "intents")


def test_the_first_trial_is_the_preset_moved_into_the_space() -> None:
    spec = sweep(
        parameters={"dropout": uniform(0.1, 0.4), "units": [32, 100], "architecture": ["lstm", "bag"]},
        training={"params": {"units": 70}},
    )
    assert core.defaults(spec, Params) == {"dropout": 0.4, "units": 100, "architecture": "bag"}


def test_trials_of_a_distributed_training_see_its_global_batch() -> None:
    spec = sweep(training={"strategy": "multi_worker", "workers": 2, "batch_size": 32, "params": {"dim": 8}})
    trial = core.trial_training(spec, {"dropout": 0.1})
    assert (trial.strategy, trial.workers, trial.batch_size) == ("single", 1, 64)
    assert trial.params == {"dim": 8, "dropout": 0.1}


def test_a_trial_asks_for_what_the_chief_of_the_training_does() -> None:
    resources = {"cpu": "2", "chief": {"gpu": 1}, "worker": {"cpu": "8"}, "ps": {"memory": "64Gi"}}
    training = {"strategy": "parameter_server", "workers": 3, "parameter_servers": 2, "resources": resources}
    trial = core.trial_training(sweep(training={"name": "bot", **training}), {})
    assert trial.model_dump() == TrainingSpec.model_validate(trial.model_dump()).model_dump(), "it may be read again"
    assert trial.resources.of("chief").gpu == 1
    assert trial.batch_size == 3 * 64


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_choice_that_is_no_single_value_is_one_line(value: Any) -> None:
    document = {"objective": "maximize accuracy", "parameters": {"layers": [2, value]}}
    with pytest.raises(InvalidSpec, match=r"^sweep.parameters\[0\].feasibleSpace.list: a choice is .*; give it a name"):
        parse(SweepSpec, document, "sweep")


def test_words_of_a_choice_need_no_quotes() -> None:
    parameters = {"kind": "choice(adam, 'sgd', true)"}
    spec = parse(SweepSpec, {"objective": "maximize accuracy", "parameters": parameters}, "sweep")
    assert spec.parameters[0].feasibleSpace.list == ["adam", "sgd", True]


def test_a_long_history_is_thinned_and_keeps_its_extremes_and_its_end() -> None:
    history = [[float(step), 1.0 / step] for step in range(1, 20_001)]
    history[777][1], history[778][1], history[5][1] = 9.0, -9.0, float("nan")
    kept = core.thinned(history)
    assert len(kept) <= 1003
    assert [778.0, 9.0] in kept
    assert [779.0, -9.0] in kept
    assert kept[-1] == history[-1]
    assert core.thinned(history[:900]) == history[:900]
