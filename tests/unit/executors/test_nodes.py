"""What no node has is said before anything is made, where nodes can be known."""

from __future__ import annotations

from typing import Any

import pytest

from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.executors.kubernetes import nodes
from shipway.executors.kubernetes.api import ApiError
from shipway.quantities import amount
from shipway.specs import parse

BIG = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "4"}
SMALL = {"cpu": "3920m", "memory": "16265636Ki"}


class Nodes:
    """What the API server answers about nodes, and about an autoscaler."""

    def __init__(self, *items: dict[str, Any], may_read: bool = True, autoscaler: bool = False) -> None:
        self.items, self.may_read, self.autoscaler = items, may_read, autoscaler

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/nodes"
        if not self.may_read:
            raise ApiError(403, "Forbidden", "nodes is forbidden")
        return {"items": [*self.items]}

    def find(self, _path: str) -> dict[str, Any] | None:
        return {"data": {}} if self.autoscaler else None


def node(allocatable: dict[str, str], *, unschedulable: bool = False, **labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": {"unschedulable": unschedulable},
            "status": {"allocatable": allocatable}}  # fmt: skip


def job(**given: Any) -> dict[str, Any]:
    return render(parse(TrainingSpec, given, "training"), "job", "s3://shipway/d", store_uri="s3://shipway")


GPUS = job(strategy="parameter_server", workers=2, resources={"cpu": "2", "chief": {"gpu": 8}})


def test_a_group_that_fits_no_node_is_named_with_what_there_is() -> None:
    with pytest.raises(InvalidSpec) as caught:
        nodes.check(Nodes(node(BIG), node(SMALL)), GPUS)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "training.resources.chief: no node has cpu 2, memory 4Gi, nvidia.com/gpu 8; of each the most that one of 2 "
        "has: cpu 8, memory 32Gi, nvidia.com/gpu 4; ask for less, or look at `kubectl describe nodes`"
    )


def test_labels_that_no_node_has_are_said() -> None:
    asked = job(strategy="multi_worker", workers=2, resources={"worker": {"node_selector": {"gpu": "a100"}}})
    with pytest.raises(InvalidSpec, match=r"resources\.worker: no node with labels gpu a100 has .*: none at all"):
        nodes.check(Nodes(node(BIG), node(SMALL, gpu="t4")), asked)  # type: ignore[arg-type]
    nodes.check(Nodes(node(BIG), node(SMALL), node(BIG, gpu="a100")), asked)  # type: ignore[arg-type]


def test_no_two_nodes_together_hold_one_replica_and_a_cordoned_one_none() -> None:
    asked = job(resources={"cpu": "6", "memory": "20Gi"})
    nodes.check(Nodes(node(BIG)), asked)  # type: ignore[arg-type]
    for there in (
        [node({"cpu": "8", "memory": "16Gi"}), node({"cpu": "4", "memory": "64Gi"})],
        [node(BIG, unschedulable=True), node(SMALL)],
    ):
        with pytest.raises(InvalidSpec, match=r"resources\.chief"):
            nodes.check(Nodes(*there), asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("there", [
    Nodes(node(SMALL), may_read=False), Nodes(), Nodes(node(SMALL), autoscaler=True),
    Nodes(node(SMALL, **{"cloud.google.com/gke-nodepool": "cpu"})),
], ids=["may not read", "no nodes", "autoscaler", "a pool that may grow"])  # fmt: skip
def test_what_cannot_be_known_is_not_refused(there: Nodes) -> None:
    nodes.check(there, GPUS)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "number"), [
    ("500m", 0.5), ("2", 2), ("4Gi", 4 * 2**30), ("16265636Ki", 16265636 * 1024), ("1k", 1000), ("1.5G", 1.5e9),
])  # fmt: skip
def test_quantities_as_kubernetes_writes_them(text: str, number: float) -> None:
    assert amount(text) == pytest.approx(number)
