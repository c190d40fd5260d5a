from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
from kubeflow.training import models

from shipway import images
from shipway.components.train.core import render, training_of
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.specs import parse

JOB = "bot-train-0123456789"
DATA = "s3://shipway/datasets/a"


def rendered(**given: Any) -> dict[str, Any]:
    return render(parse(TrainingSpec, given, "training"), JOB, DATA, store_uri="s3://shipway")


def container(manifest: dict[str, Any], role: str) -> dict[str, Any]:
    specs = manifest["spec"].get("tfReplicaSpecs") or manifest["spec"]["mpiReplicaSpecs"]
    found: dict[str, Any] = specs[role]["template"]["spec"]["containers"][0]
    return found


def test_one_worker_is_a_tfjob_with_a_chief_alone() -> None:
    manifest = rendered()
    assert (manifest["kind"], manifest["apiVersion"]) == ("TFJob", "kubeflow.org/v1")
    assert manifest["metadata"]["name"] == JOB
    assert set(manifest["spec"]["tfReplicaSpecs"]) == {"Chief"}
    assert container(manifest, "Chief")["image"] == images.TENSORFLOW


def test_many_workers_are_a_chief_and_the_rest() -> None:
    manifest = rendered(strategy="multi_worker", workers=4, retries=2, deadline_s=600, resources={"gpu": 1})
    replicas = manifest["spec"]["tfReplicaSpecs"]
    assert {role: spec["replicas"] for role, spec in replicas.items()} == {"Chief": 1, "Worker": 3}
    assert {spec["restartPolicy"] for spec in replicas.values()} == {"ExitCode"}
    policy = manifest["spec"]["runPolicy"]
    assert (policy["cleanPodPolicy"], policy["backoffLimit"], policy["activeDeadlineSeconds"]) == ("All", 2, 600)
    assert container(manifest, "Worker")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container(manifest, "Worker")["name"] == "tensorflow"  # the operator finds it by this name


def test_parameter_servers_are_a_chief_workers_and_ps_each_with_what_its_group_asks_for() -> None:
    manifest = rendered(
        strategy="parameter_server", workers=4, parameter_servers=2, queue="team", node_selector={"pool": "train"},
        resources={
            "cpu": "4", "memory": "16Gi", "gpu": 1,
            "worker": {"gpu": 2, "node_selector": {"gpu.kind": "a100"}}, "ps": {"memory": "64Gi"},
        },
    )  # fmt: skip
    replicas = manifest["spec"]["tfReplicaSpecs"]
    assert {role: spec["replicas"] for role, spec in replicas.items()} == {"Chief": 1, "Worker": 3, "PS": 2}
    assert {spec["restartPolicy"] for spec in replicas.values()} == {"ExitCode"}
    assert manifest["spec"]["runPolicy"]["schedulingPolicy"]["minAvailable"] == 6
    limits = {role: container(manifest, role)["resources"]["limits"] for role in replicas}
    assert limits == {
        "Chief": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"},
        "Worker": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "2"},
        "PS": {"cpu": "4", "memory": "64Gi"},
    }
    assert {role: spec["template"]["spec"]["nodeSelector"] for role, spec in replicas.items()} == {
        "Chief": {"pool": "train"}, "Worker": {"pool": "train", "gpu.kind": "a100"}, "PS": {"pool": "train"},
    }  # fmt: skip
    commands = [container(manifest, role)["command"] for role in replicas]
    assert commands[0] == commands[1] == commands[2]


def test_a_launcher_and_ranks_have_resources_of_their_own() -> None:
    manifest = rendered(
        strategy="horovod", workers=2, resources={"gpu": 1, "launcher": {"memory": "1Gi"}, "worker": {"cpu": "8"}}
    )
    assert container(manifest, "Launcher")["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    assert container(manifest, "Worker")["resources"]["requests"] == {
        "cpu": "8", "memory": "4Gi", "nvidia.com/gpu": "1",
    }  # fmt: skip


def test_groups_that_the_chosen_strategy_does_not_have_are_refused_when_it_is_chosen() -> None:
    with pytest.raises(InvalidSpec, match=r"training: resources\.worker with strategy 'single': its job has chief"):
        rendered(resources={"worker": {"gpu": 1}})
    manifest = rendered(strategy="parameter_server", resources={"worker": {"gpu": 1}})
    assert {role: spec["replicas"] for role, spec in manifest["spec"]["tfReplicaSpecs"].items()} == {
        "Chief": 1, "Worker": 1, "PS": 1,
    }  # fmt: skip


def test_horovod_is_an_mpijob_whose_launcher_hands_the_document_on() -> None:
    manifest = rendered(strategy="horovod", workers=3, gradient_compression="fp16")
    assert manifest["kind"] == "MPIJob"
    replicas = manifest["spec"]["mpiReplicaSpecs"]
    assert {role: spec["replicas"] for role, spec in replicas.items()} == {"Launcher": 1, "Worker": 3}
    command = container(manifest, "Launcher")["command"]
    assert command[0] == "mpirun"
    assert command[command.index("-np") + 1] == "3"
    forwarded = {after for word, after in itertools.pairwise(command) if word == "-x"}
    assert {"SHIPWAY_TRAINING", "SHIPWAY_STORE", "TF_USE_LEGACY_KERAS"} <= forwarded
    assert container(manifest, "Worker")["image"] == images.HOROVOD
    assert "command" not in container(manifest, "Worker")


def test_queue_priority_nodes_and_secrets_reach_the_manifest() -> None:
    manifest = rendered(
        strategy="multi_worker", workers=2, queue="team", priority="high", node_selector={"pool": "gpu"},
        store_secret="store", service_account="trainer", keep_s=5,
    )  # fmt: skip
    scheduling = manifest["spec"]["runPolicy"]["schedulingPolicy"]
    assert scheduling == {"minAvailable": 2, "queue": "team", "priorityClass": "high"}
    assert manifest["spec"]["runPolicy"]["ttlSecondsAfterFinished"] == 5
    pod = manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    assert (pod["nodeSelector"], pod["priorityClassName"], pod["serviceAccountName"]) == (
        {"pool": "gpu"}, "high", "trainer",
    )  # fmt: skip
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "store"}}]


@pytest.mark.parametrize(
    "spec", [{}, *({"strategy": name, "workers": 2} for name in ("horovod", "multi_worker", "parameter_server"))]
)
def test_rendering_is_pure_and_the_document_comes_back(spec: dict[str, Any]) -> None:
    one, two = rendered(**spec), rendered(**spec)
    assert one == two
    found = training_of(one)
    assert found.dataset_uri == DATA
    assert found.output_uri == f"s3://shipway/jobs/{JOB}"
    assert found.spec.strategy == spec.get("strategy", "single")


@pytest.mark.parametrize("strategy", ["multi_worker", "parameter_server", "horovod"])
def test_every_replica_asks_for_no_more_than_pod_securitys_restricted_level(strategy: str) -> None:
    manifest = rendered(strategy=strategy, workers=2)
    specs = manifest["spec"].get("tfReplicaSpecs") or manifest["spec"]["mpiReplicaSpecs"]
    assert len(specs) == (3 if strategy == "parameter_server" else 2)
    for role, replica in specs.items():
        pod, one = replica["template"]["spec"], container(manifest, role)
        # The training operator's init container in a launcher's pod runs as root.
        of_pod, of_container = ({}, {"runAsNonRoot": True}) if role == "Launcher" else ({"runAsNonRoot": True}, {})
        assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}, **of_pod}
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
            **of_container,
        }  # fmt: skip
        assert {mount["mountPath"] for mount in one["volumeMounts"]} == {"/tmp", "/home/shipway"}
        assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_a_users_own_image_may_write_where_it_likes_and_run_as_root_if_told() -> None:
    own = container(rendered(image="registry/mine:1"), "Chief")
    assert own["securityContext"]["allowPrivilegeEscalation"] is False
    assert "readOnlyRootFilesystem" not in own["securityContext"]
    assert "volumeMounts" not in own
    pod = rendered(image="registry/mine:1", pod_security="unset")["spec"]["tfReplicaSpecs"]["Chief"]["template"]["spec"]
    assert "securityContext" not in pod
    assert "securityContext" not in pod["containers"][0]


def test_how_pods_are_secured_is_no_other_training() -> None:
    one, two = rendered(), rendered(pod_security="unset")
    assert training_of(one) == training_of(two)


def test_the_manifest_is_what_the_operators_own_model_reads() -> None:
    manifest = rendered(strategy="multi_worker", workers=2)
    known = set(models.KubeflowOrgV1TFJobSpec.attribute_map.values())
    assert set(manifest["spec"]) <= known
    assert set(manifest["spec"]["runPolicy"]) <= set(models.KubeflowOrgV1RunPolicy.attribute_map.values())


@pytest.mark.parametrize("module", ["spec", "core", "launch"])
def test_a_module_that_runs_anywhere_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, shipway.components.train.{module}; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("'tensorflow'", "'kubernetes'", "'kfp'", "'horovod'", "'kubeflow.training'"):
        assert heavy not in loaded
