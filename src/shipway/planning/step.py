"""What a pipeline's plan task does in its pod."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from typing import Any

from shipway import references
from shipway.steps import step


def plan_step(pipeline: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """Checks the whole configuration, and gives out one spec per section with the fingerprints beside them.

    Args:
        pipeline: Name of the pipeline: its folder must be where this runs, as `shipway.planning.find` looks for it.
        params: The pipeline's parameters.

    Returns:
        A named tuple of strings, as kfp takes a component's outputs.
    """
    from shipway.code import upload_packed
    from shipway.planning import find, resolve

    with step("plan") as current:
        configuration = resolve(find(pipeline), references.conceal_all(params))
        outputs = configuration.outputs
        for code in {str(getattr(spec, "code", "")) for spec in configuration.specs.values()} - {""}:
            upload_packed(code)
        configuration.check_cluster(current.context)
        current.output(**configuration.fingerprints)
        return namedtuple("Plan", outputs)(**outputs)
