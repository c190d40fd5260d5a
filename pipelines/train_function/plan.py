"""What `train_function` has to configure, and what is refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.components.train.spec import FunctionSpec
from shipway.executors import identity
from shipway.functions.data import data_fingerprint
from shipway.functions.declared import restored
from shipway.functions.plan import FunctionPlan
from shipway.functions.travelling import declared_by
from shipway.images import VERSION
from shipway.planning import code_fingerprint
from shipway.planning.base import Specs
from shipway.planning.own_code import with_code

if TYPE_CHECKING:
    from shipway.executors.kubernetes import KubernetesExecutor


class TrainFunction(FunctionPlan):
    """A function of a person's own, what it is called with, and how its job runs."""

    version = VERSION
    sections: Mapping[str, type[BaseModel]] = {"training": FunctionSpec}
    flat: Mapping[str, Sequence[tuple[str, str]]] = {
        name: [("training", name)] for name in ("name", "function", "code", "params", "data", "strategy", "workers")
    } | {"origin": []}

    def specs(self, document: Mapping[str, Any]) -> dict[str, Any]:
        named = str(document.get("training", {}).get("function", ""))
        training: FunctionSpec = super().specs(with_code(document, ["training"], [named]))["training"]
        function = declared_by(training.function)
        training = training.model_copy(update={"params": restored(training.params, function)})
        if function is not None:
            function.check_names(training.params, "params")
            for name, value in training.params.items():
                function.check_kind(name, value, f"params.{name}")
        return {"training": training}

    def check_here(self, specs: Specs) -> None:
        super().check_here(specs)
        from shipway.components.train.core import runs_here
        from shipway.doctor import require_local

        require_local(specs["training"].strategy if runs_here(specs["training"]) else "")

    def check_cluster(self, specs: Specs, executor: KubernetesExecutor) -> None:
        from shipway.components.train.core import render_function

        executor.check(render_function(specs["training"], identity.CHECK, store_uri=executor.context.store_uri))

    def fingerprints(self, specs: Specs) -> dict[str, str]:
        return {
            "data_fingerprint": data_fingerprint(specs["training"].data),
            "code_fingerprint": code_fingerprint(code=specs["training"].code),
        }

    def work(self, task: str, specs: Specs) -> str:
        training = specs["training"]
        if task != "function":
            return ""
        workers = f"{training.workers} worker{'s' if training.workers != 1 else ''}"
        return f"{training.function}: {training.strategy}, {workers}"


plan = TrainFunction()
