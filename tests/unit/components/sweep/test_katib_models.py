"""Our Experiment by Katib's own models (kubeflow-katib-api), field by field; one that they do not know is refused."""

from __future__ import annotations

import copy
import typing
from typing import Any

import pytest
from kubeflow_katib_api import models
from pydantic import BaseModel, ValidationError

from shipway.components.sweep import core, experiment, katib
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import JobFailed
from shipway.specs import parse
from tests.unit.components.sweep.test_experiment import DOCUMENT, rendered


def unknown_fields(model: type[BaseModel], value: Any, path: str) -> list[str]:
    """Paths that the model has no field for; the models themselves pass over them in silence."""
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    found = []
    for key, inner in value.items():
        where = f"{path}.{key}" if path else key
        if key not in known:
            found.append(where)
            continue
        for inside in _models(known[key]):
            for number, each in enumerate(inner if isinstance(inner, list) else [inner]):
                at = f"{where}[{number}]" if isinstance(inner, list) else where
                found += unknown_fields(inside, each, at)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _models(argument)]


def refusal(manifest: dict[str, Any]) -> list[str]:
    """What Katib's models say against it; nothing where it is right."""
    document = {**manifest, "metadata": {"name": manifest["metadata"]["name"]}}
    try:
        models.V1beta1Experiment.model_validate(document)
    except ValidationError as error:
        return [".".join(map(str, problem["loc"])) for problem in error.errors()]
    return unknown_fields(models.V1beta1ExperimentSpec, manifest["spec"], "spec")


@pytest.mark.parametrize(
    "training",
    [{}, {"strategy": "multi_worker", "workers": 3}, {"strategy": "horovod", "workers": 2},
     {"strategy": "parameter_server", "workers": 2, "parameter_servers": 2}],
)  # fmt: skip
def test_every_field_that_we_write_is_one_of_katibs(training: dict[str, Any]) -> None:
    assert refusal(rendered(**training)) == []


@pytest.mark.parametrize("algorithm", ["grid", "random", "tpe", "multivariate-tpe", "cmaes", "sobol", "hyperband"])
def test_so_it_is_under_each_algorithm(algorithm: str) -> None:
    parameters = {"hidden": "randint(64, 256, 64)", "dropout": "quniform(0.2, 0.6, 0.1)"}
    settings = {"resource_name": "hidden", "r_l": 256} if algorithm == "hyperband" else {}
    chosen = {"algorithmName": algorithm, "algorithmSettings": settings}
    document = {"parameters": parameters, "algorithm": chosen, "training": {"name": "bot"}}
    spec = core.with_objective(parse(SweepSpec, document))
    template = experiment.trial_template(spec, "file:///data", "file:///store")
    assert refusal(experiment.render(spec, "bot-sweep-1", template)) == []


@pytest.mark.parametrize(("path", "value", "named"), [
    ("spec.objectve", {}, "spec.objectve"),
    ("spec.trialTemplate.primaryContainer", "mpi", "spec.trialTemplate.primaryContainer"),
    ("spec.parameters.0.feasibleSpace.mim", "1", "spec.parameters[0].feasibleSpace.mim"),
    ("spec.objective.metricStrategies.0.strategy", "max", "spec.objective.metricStrategies[0].strategy"),
    ("spec.metricsCollectorSpec.source.filter.format", [], "spec.metricsCollectorSpec.source.filter.format"),
    ("spec.parameters.0.feasibleSpace.min", 0.001, "spec.parameters.0.feasibleSpace.min"),
    ("spec.parallelTrialCount", "2", "spec.parallelTrialCount"),
])  # fmt: skip
def test_a_wrong_field_would_have_been_found(path: str, value: Any, named: str) -> None:
    manifest = copy.deepcopy(rendered())
    at: Any = manifest
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    at[last] = value
    assert refusal(manifest) == [named]


def status(**metrics: str) -> dict[str, Any]:
    assigned = {"learning_rate": "0.005", "hidden": "128", "decay": "cosine"}
    found = {
        "bestTrialName": "bot-sweep-1-x",
        "parameterAssignments": [{"name": name, "value": value} for name, value in assigned.items()],
        "observation": {"metrics": [{"name": "val_accuracy", **metrics}, {"name": "val_loss", "latest": "0.5"}]},
    }
    models.V1beta1ExperimentStatus.model_validate({"currentOptimalTrial": found})
    return {"currentOptimalTrial": found, "trials": 6}


def test_the_best_trial_comes_from_the_status_with_typed_values() -> None:
    best = katib.best_trial(parse(SweepSpec, DOCUMENT), status(latest="0.9", max="0.95", min="0.1"))
    assert best.params == {"learning_rate": 0.005, "hidden": 128, "decay": "cosine"}
    assert isinstance(best.params["hidden"], int)
    assert best.metrics == {"val_accuracy": 0.9, "val_loss": 0.5}
    assert best.job == "bot-sweep-1-x"


@pytest.mark.parametrize("found", [{}, {"currentOptimalTrial": {"bestTrialName": ""}}, status(latest="unavailable")])
def test_an_experiment_without_a_best_trial_is_told(found: dict[str, Any]) -> None:
    with pytest.raises(JobFailed, match=r"without a best trial for 'val_accuracy'.*must print a line val_accuracy="):
        katib.best_trial(parse(SweepSpec, DOCUMENT), found)
