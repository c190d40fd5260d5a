"""Whether some node could hold what a job's replicas ask for, where nodes may be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shipway.errors import InvalidSpec
from shipway.executors.base import Manifest
from shipway.executors.kubernetes.api import Api, ApiError
from shipway.quantities import amount

# Of nodes that are made when a pod needs them: what is not there yet may still come.
_MADE_ON_DEMAND = (
    "karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup", "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
)  # fmt: skip
_AUTOSCALER = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"


def check(api: Api, manifest: Manifest) -> None:
    """Refuses a replica that asks for more than any node has; what others hold of a node at the moment does not count.

    Nothing is refused where nodes may not be read, or may be made on demand.

    Args:
        api: The cluster.
        manifest: A TFJob or MPIJob; others pass.

    Raises:
        InvalidSpec: says for which group, what it asks for, and what the largest node has.
    """
    pods = dict(_pods(manifest))
    nodes = _nodes(api) if pods else []
    for role, pod in pods.items():
        labels = pod.get("nodeSelector") or {}
        asked = pod["containers"][0].get("resources", {}).get("requests") or {}
        some = [node for node in nodes if labels.items() <= (node["metadata"].get("labels") or {}).items()]
        if not nodes or any(_holds(node, asked) for node in some):
            continue
        where = f" with labels {_words(labels)}" if labels else ""
        has = _words(_most(some, asked)) if some else "none at all"
        raise InvalidSpec(
            f"no node{where} has {_words(asked)}; of each the most that one of {len(some)} has: {has}",
            field=f"training.resources.{role.lower()}",
            fix="ask for less, or look at `kubectl describe nodes`",
        )


def _nodes(api: Api) -> list[dict[str, Any]]:
    """Those that may take pods; none where that says nothing."""
    try:
        nodes = [item for item in api.get("/api/v1/nodes")["items"] if not item["spec"].get("unschedulable")]
        is_growing = api.find(_AUTOSCALER) is not None
    except ApiError:
        return []
    labels = {label for node in nodes for label in node["metadata"].get("labels") or {}}
    return [] if is_growing or labels.intersection(_MADE_ON_DEMAND) else nodes


def _holds(node: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    has = node["status"].get("allocatable") or {}
    return all(amount(has.get(name, "0")) >= amount(quantity) for name, quantity in asked.items())


def _most(nodes: list[dict[str, Any]], asked: Mapping[str, str]) -> dict[str, str]:
    each = [node["status"].get("allocatable") or {} for node in nodes]
    return {name: max((has.get(name, "0") for has in each), key=amount) for name in asked}


def _words(quantities: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {quantity}" for name, quantity in quantities.items())


def _pods(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    spec = manifest.get("spec", {})
    for role, replica in (spec.get("tfReplicaSpecs") or spec.get("mpiReplicaSpecs") or {}).items():
        yield role, replica["template"]["spec"]
