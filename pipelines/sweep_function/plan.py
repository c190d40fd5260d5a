"""What `sweep_function` has to configure, and what is refused before any trial starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.components.sweep.budget import check_budget
from shipway.components.sweep.core import check_function, search_in_words, with_objective
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.functions.declared import Declared, restored
from shipway.functions.plan import FunctionPlan
from shipway.functions.travelling import declared_by
from shipway.images import VERSION
from shipway.planning import code_fingerprint
from shipway.planning.base import Specs
from shipway.planning.own_code import with_code
from shipway.specs import parse

if TYPE_CHECKING:
    from shipway.executors.kubernetes import KubernetesExecutor


class SweepFunction(FunctionPlan):
    """A function of a person's own, and the values that its parameters may take."""

    version = VERSION
    sections: Mapping[str, type[BaseModel]] = {"sweep": SweepSpec, "training": TrainingSpec}
    flat: Mapping[str, Sequence[tuple[str, str]]] = {
        "name": [("training", "name")],
        "function": [("sweep", "function")],
        "code": [("training", "code")],
        "space": [("sweep", "parameters")],
        "objective": [("sweep", "objective")],
        "trials": [("sweep", "maxTrialCount")],
        "parallel": [("sweep", "parallelTrialCount")],
        "origin": [],
    }
    whole = ("parameters",)

    def check_given(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        super().check_given(params, overrides)
        if "training" in overrides.get("sweep", {}):
            raise InvalidSpec(
                "how trials run is overrides.training", field="overrides.sweep.training", fix="put it there"
            )
        if not params.get("space") and not overrides.get("sweep", {}).get("parameters"):
            raise InvalidSpec(
                "missing",
                field="space",
                fix=(
                    "give the values of each parameter: space={'learning_rate': [0.001, 0.01], 'dropout': "
                    "'uniform(0, 0.5)'}"
                ),
            )

    def specs(self, document: Mapping[str, Any]) -> dict[str, Any]:
        given = document.get("sweep", {})
        document = with_code(document, ["training"], [str(given.get("function", ""))])
        training = parse(TrainingSpec, document.get("training", {}), "training")
        sweep = parse(SweepSpec, given, "sweep")
        function = declared_by(sweep.function)
        training = training.model_copy(update={"params": restored(training.params, function)})
        # The space is a mapping, and what carries it keeps no order: the function's own makes one sweep of it.
        order = list(function.parameters) if function is not None else []
        ordered = sorted(sweep.parameters, key=lambda each: _place(each.name, order))
        sweep = sweep.model_copy(update={"training": training, "parameters": ordered})
        if function is not None:
            check_function(sweep, function)
            sweep = sweep.model_copy(update={"training": _with_defaults(sweep, training, function)})
        check_budget(sweep)
        return {"sweep": with_objective(sweep, function), "training": training}

    def check_here(self, specs: Specs) -> None:
        super().check_here(specs)
        from shipway.doctor import require_local

        require_local()

    def check_cluster(self, specs: Specs, executor: KubernetesExecutor) -> None:
        from shipway.components.sweep.experiment import runner_manifest

        context = executor.context
        nowhere = context.uri("none")
        executor.check(runner_manifest(specs["sweep"], identity.CHECK, nowhere, "", context.store_uri, 0))

    def fingerprints(self, specs: Specs) -> dict[str, str]:
        return {"code_fingerprint": code_fingerprint(code=specs["training"].code)}

    def work(self, task: str, specs: Specs) -> str:
        sweep = specs["sweep"]
        if task != "function":
            return ""
        objective = f"{sweep.objective.type} {sweep.objective.objectiveMetricName}"
        return f"{sweep.function}: {objective}, {search_in_words(sweep)}"


def _place(name: str, order: list[str]) -> tuple[int, str]:
    """Where a parameter comes among the function's; those that it takes by `**` by their names."""
    return (order.index(name) if name in order else len(order)), name


def _with_defaults(sweep: SweepSpec, training: TrainingSpec, function: Declared) -> TrainingSpec:
    """The first trial has the function's own defaults."""
    known = {each.name: function.parameters[each.name].default for each in sweep.parameters
             if each.name in function.parameters}  # fmt: skip
    usual = {name: value for name, value in known.items() if value is not None}
    return training.model_copy(update={"params": {**usual, **training.params}})


plan = SweepFunction()
