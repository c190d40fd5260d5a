"""Nodes on which runners die: the next ones go elsewhere where they can."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from shipway.executors import Manifest

NODE = "SHIPWAY_NODE"  # the variable by which a runner knows where it runs
ENOUGH = 2  # trials whose runner died on a node: one may be the trial's own fault
_WISHES = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = 100  # the most that a preference weighs


@dataclass
class Nodes:
    """Where runners died.

    Attributes:
        deaths: Node -> trials whose runner died there.
    """

    deaths: dict[str, list[int]] = field(default_factory=dict)

    def note(self, node: str, trial: int) -> None:
        """A runner died, not the trial's function: by a signal, for memory, with its node."""
        if node and trial not in self.deaths.setdefault(node, []):
            self.deaths[node].append(trial)

    @property
    def avoided(self) -> dict[str, list[int]]:
        """Nodes that runners are kept away from, and the trials that ended there."""
        return {node: trials for node, trials in self.deaths.items() if len(trials) >= ENOUGH}

    def steered(self, manifest: Manifest) -> Manifest:
        """A copy of a runner's manifest that prefers all other nodes; where there is no other, it runs there."""
        changed = copy.deepcopy(manifest)
        replicas = (changed.get("spec") or {}).get("tfReplicaSpecs") or {}
        for pod in [replica["template"]["spec"] for replica in replicas.values()] if self.avoided else []:
            others = {"key": "metadata.name", "operator": "NotIn", "values": sorted(self.avoided)}
            wish: dict[str, Any] = {"weight": _WEIGHT, "preference": {"matchFields": [others]}}
            affinity = pod.get("affinity") or {}
            of_nodes = affinity.get("nodeAffinity") or {}
            pod["affinity"] = {**affinity, "nodeAffinity": {**of_nodes, _WISHES: [*of_nodes.get(_WISHES, []), wish]}}
        return changed


def node_variable() -> dict[str, Any]:
    """For a container's environment."""
    return {"name": NODE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
