"""What pipelines over a function have in common in their plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.functions.travelling import declared_by, with_file
from shipway.objects import load_object
from shipway.planning import Plan
from shipway.planning.base import Specs


class FunctionPlan(Plan):
    """A pipeline over a function of a person's own, whose source travels with the run."""

    decided = ("name", "function", "code")

    def take_along(self, params: Mapping[str, Any], pin: Callable[[str], str]) -> dict[str, Any]:
        return super().take_along(with_file(params), pin)

    def check_given(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        identity.check_model_name(params.get("name"))
        if not params.get("function"):
            raise InvalidSpec(
                "missing", field="function", fix="give function=train.py:train, or `module:name` of code=..."
            )

    def check_here(self, specs: Specs) -> None:
        reference = next(str(spec.function) for spec in specs.values() if getattr(spec, "function", ""))
        if declared_by(reference) is None:  # nothing tells what is in it: at least it is there
            load_object(reference, "function")
