"""What is set on a KFP task reaches the replicas, and nothing changes where nothing is set."""

from __future__ import annotations

from typing import Any

import pytest
from kfp import dsl
from kubeflow.training import models

from shipway.components.sweep import experiment
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.executors.passthrough import with_task_config
from shipway.specs import parse

GPU = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
CONFIG = dsl.TaskConfig(
    resources={
        "requests": {"cpu": "4"},
        "limits": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"},
    },
    node_selector={"cloud.example.com/accelerator": "a100"},
    tolerations=[GPU],
    affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
)


def manifest(**given: Any) -> dict[str, Any]:
    return render(parse(TrainingSpec, given, "training"), "job", "s3://shipway/datasets/a", store_uri="s3://shipway")


def pods(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    replicas = found["spec"].get("tfReplicaSpecs") or found["spec"]["mpiReplicaSpecs"]
    return {role: replica["template"]["spec"] for role, replica in replicas.items()}


@pytest.mark.parametrize("strategy", ["single", "multi_worker", "parameter_server", "horovod"])
def test_resources_accelerators_and_nodes_of_the_task_are_those_of_the_replicas(strategy: str) -> None:
    workers = 1 if strategy == "single" else 3
    found = with_task_config(manifest(strategy=strategy, workers=workers, node_selector={"pool": "train"}), CONFIG)
    for role, pod in pods(found).items():
        assert pod["nodeSelector"] == {"pool": "train", "cloud.example.com/accelerator": "a100"}
        assert pod["tolerations"] == [GPU]
        assert pod["affinity"] == CONFIG.affinity
        resources = pod["containers"][0]["resources"]
        if role == "Launcher":  # it starts the others and computes nothing
            assert "nvidia.com/gpu" not in resources["limits"]
        elif role == "PS":  # it holds variables
            assert resources["limits"] == {"cpu": "8", "memory": "32Gi"}
            assert resources["requests"] == {"cpu": "4", "memory": "32Gi"}
        else:
            assert resources["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
            assert resources["requests"] == {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "2"}


def test_what_the_task_leaves_open_stays_as_the_spec_says() -> None:
    given = manifest(resources={"cpu": "2", "memory": "8Gi", "gpu": 1})
    found = with_task_config(given, dsl.TaskConfig(resources={"limits": {"memory": "16Gi"}}))
    resources = pods(found)["Chief"]["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"cpu": "2", "memory": "16Gi", "nvidia.com/gpu": "1"}


@pytest.mark.parametrize("nothing", [None, {}, dsl.TaskConfig(), dsl.TaskConfig(resources={}, tolerations=[])])
def test_nothing_set_changes_nothing(nothing: Any) -> None:
    given = manifest(strategy="multi_worker", workers=2)
    assert with_task_config(given, nothing) == given


def test_the_drivers_own_spelling_is_understood_and_the_manifest_given_is_left_alone() -> None:
    given = manifest()
    before = manifest()
    found = with_task_config(given, {"nodeSelector": {"pool": "gpu"}, "resources": {"limits": {"cpu": "3"}}})
    assert pods(found)["Chief"]["nodeSelector"] == {"pool": "gpu"}
    assert given == before


def test_the_replicas_of_a_sweeps_trials_get_them_too() -> None:
    spec = parse(
        SweepSpec,
        {"parameters": {"dropout": "uniform(0, 0.5)"}, "training": {"name": "bot"}, "maxTrialCount": 2},
        "sweep",
    )
    for one in (
        experiment.runner_manifest(spec, "runner", "s3://shipway/sweeps/a", "", "s3://shipway", 0),
        experiment.trial_template(spec, "s3://shipway/datasets/a", "s3://shipway"),
    ):
        chief = pods(with_task_config(one, CONFIG))["Chief"]
        assert chief["tolerations"] == [GPU]
        assert chief["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_a_changed_manifest_is_still_what_the_operator_reads() -> None:
    pod = pods(with_task_config(manifest(), CONFIG))["Chief"]
    from kubernetes.client import V1PodSpec

    assert set(pod) <= set(V1PodSpec.attribute_map.values())
    assert set(with_task_config(manifest(), CONFIG)["spec"]) <= set(
        models.KubeflowOrgV1TFJobSpec.attribute_map.values()
    )
