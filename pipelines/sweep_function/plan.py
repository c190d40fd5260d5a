"""What `sweep_function` has to configure, and what is refused before any trial starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.components.sweep.core import check_function, with_objective
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.functions.declared import restored
from shipway.functions.travelling import declared_by, take_along, with_code
from shipway.images import VERSION
from shipway.planning import Plan, code_fingerprint
from shipway.planning.base import Specs
from shipway.planning.resolving import merge

if TYPE_CHECKING:
    from shipway.executors.kubernetes import KubernetesExecutor


class SweepFunction(Plan):
    """A function of a person's own, and the values that its parameters may take."""

    version = VERSION
    sections: Mapping[str, type[BaseModel]] = {"sweep": SweepSpec}
    flat: Mapping[str, Sequence[tuple[str, str]]] = {
        "name": [("sweep", "training.name")],
        "function": [("sweep", "function")],
        "code": [("sweep", "training.code")],
        "space": [("sweep", "parameters")],
        "objective": [("sweep", "objective")],
        "trials": [("sweep", "maxTrialCount")],
        "parallel": [("sweep", "parallelTrialCount")],
        "origin": [],
    }
    whole = ("parameters",)

    def take_along(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return take_along(dict(params))

    def check_given(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        identity.check_model_name(params.get("name"))
        if not params.get("function"):
            raise InvalidSpec("function: missing; give function=train.py:train, or `module:name` of code=...")
        if not params.get("space") and not overrides.get("sweep", {}).get("parameters"):
            raise InvalidSpec(
                "space: missing; give the values of each parameter: space={'learning_rate': [0.001, 0.01], "
                "'dropout': 'uniform(0, 0.5)'}"
            )

    def specs(self, document: Mapping[str, Any]) -> dict[str, Any]:
        given = document.get("sweep", {})
        code = with_code(str(given.get("training", {}).get("code", "")), str(given.get("function", "")))
        sweep: SweepSpec = super().specs(merge(document, {"sweep": {"training": {"code": code}}}))["sweep"]
        assert sweep.training is not None  # it has the name
        function = declared_by(sweep.function)
        fixed = restored(sweep.training.params, function)
        if function is not None:
            check_function(sweep, function)
            searched = [each.name for each in sweep.parameters]
            known = {name: each.default for name, each in function.parameters.items() if name in searched}
            # The first trial has the function's own defaults.
            fixed = {name: value for name, value in known.items() if value is not None} | fixed
        training = sweep.training.model_copy(update={"params": fixed})
        sweep = sweep.model_copy(update={"training": training})
        return {"sweep": with_objective(sweep, function)}

    def check_here(self, specs: Specs) -> None:
        from shipway.doctor import require_local

        require_local()

    def check_cluster(self, specs: Specs, executor: KubernetesExecutor) -> None:
        from shipway.components.sweep.experiment import runner_manifest

        context = executor.context
        nowhere = context.uri("none")
        executor.check(runner_manifest(specs["sweep"], identity.CHECK, nowhere, "", context.store_uri, 0))

    def fingerprints(self, specs: Specs) -> dict[str, str]:
        return {"code_fingerprint": code_fingerprint()}

    def work(self, task: str, specs: Specs) -> str:
        sweep = specs["sweep"]
        if task != "function":
            return ""
        objective = f"{sweep.objective.type} {sweep.objective.objectiveMetricName}"
        how = f"{sweep.algorithm.algorithmName} {sweep.maxTrialCount} trials, {sweep.parallelTrialCount} at a time"
        return f"{sweep.function}: {objective}, {how}"

    def trials(self, specs: Specs) -> int | None:
        return int(specs["sweep"].maxTrialCount)


plan = SweepFunction()
