"""What a person set on a KFP task (resources, accelerators, nodes), handed on to the pods of the job that it launches.

KFP's driver gives it to a component's `dsl.TaskConfig` parameter in place of applying it to the launching pod, which
needs none of it. On this machine every field is None, and nothing changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from shipway.executors.base import Manifest

# TaskConfig's field -> the pod's.
_PLACES = {"node_selector": "nodeSelector", "tolerations": "tolerations", "affinity": "affinity"}

_PLAIN = ("cpu", "memory", "ephemeral-storage")


def with_task_config(manifest: Manifest, config: Any) -> Manifest:
    """A copy of a TFJob or MPIJob with a task's settings on its replicas.

    Args:
        manifest: As rendered from the spec.
        config: `kfp.dsl.TaskConfig`, the mapping that it stands for, or None.

    Returns:
        What the task sets wins over the spec, quantity by quantity and label by label; what it leaves open stays.
        Nodes and tolerations reach every replica; resources all but an MPIJob's launcher, which computes nothing, and
        a ps cores and memory alone.
    """
    changed = copy.deepcopy(manifest)
    for role, pod in _pods(changed):
        for field, place in _PLACES.items():
            value = _get(config, field)
            if not value:
                continue
            if field == "node_selector":
                pod[place] = {**(pod.get(place) or {}), **value}
            elif field == "tolerations":
                pod[place] = [*(pod.get(place) or []), *value]
            else:
                pod[place] = copy.deepcopy(value)
        if role != "Launcher" and _get(config, "resources"):
            container = pod["containers"][0]
            given = _get(config, "resources")
            if role == "PS":  # it holds variables, and an accelerator would stand idle
                given = {side: {name: value for name, value in (given.get(side) or {}).items() if name in _PLAIN}
                         for side in ("limits", "requests")}  # fmt: skip
            container["resources"] = _resources(container.get("resources") or {}, given)
    return changed


def _resources(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The spec's quantities under the task's; one that is given as request or limit alone stands for both, so that a
    spec's larger request never exceeds a task's smaller limit."""
    limits, requests = dict(given.get("limits") or {}), dict(given.get("requests") or {})
    both = {**own, "limits": {**(own.get("limits") or {}), **requests, **limits}}
    return {**both, "requests": {**(own.get("requests") or {}), **limits, **requests}}


def _get(config: Any, field: str) -> Any:
    if config is None:
        return None
    if isinstance(config, Mapping):
        # The driver writes KFP's JSON names, the dataclass Python's.
        return config.get(field) or config.get(_camel(field))
    return getattr(config, field, None)


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.title() for word in rest)


def _pods(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    spec = manifest.get("spec", {})
    replicas = spec.get("tfReplicaSpecs") or spec.get("mpiReplicaSpecs") or {}
    for role, replica in replicas.items():
        yield role, replica["template"]["spec"]
