"""Pods of trainings and predictors where Pod Security's level `restricted` is enforced; test_pipelines runs them so."""

from __future__ import annotations

from typing import Any

import pytest

from shipway.components.deploy.core import inference_service
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.executors import Manifest
from shipway.executors.kubernetes import services, view
from shipway.specs import parse
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures.kubernetes_rig import IMAGE, KubernetesRig

LEVEL = "pod-security.kubernetes.io/enforce=restricted"
ROOTS = "container has runAsNonRoot and image will run as root"
STUCK = {"CreateContainerConfigError": 1.0}


@pytest.fixture
def restricted(namespace: str, kubectl: Kubectl) -> str:
    """A namespace that refuses every pod that asks for more."""
    kubectl("label", "namespace", namespace, LEVEL)
    return namespace


def training(**given: Any) -> Manifest:
    spec = parse(TrainingSpec, {"resources": {"cpu": "10m", "memory": "64Mi"}, **given}, "training")
    return render(spec, "secured", "s3://shipway/d", store_uri="s3://shipway")


def endpoint(namespace: str, **given: Any) -> Manifest:
    spec = EndpointSpec(name="secured", resources={"cpu": "10m", "memory": "64Mi"}, **given)
    return inference_service(
        spec, endpoint="secured", version=1, model_uri="s3://shipway/m", model_digest="", variant_digest="",
        recipe="intents", answers={},
        store_uri="s3://shipway", run="r", namespace=namespace,
    )  # fmt: skip


def pods_of(manifest: Manifest) -> list[dict[str, Any]]:
    """Pod specs that a manifest holds."""
    spec = manifest["spec"]
    if "predictor" in spec:
        own = ("minReplicas", "maxReplicas")  # KServe's, beside the pod's
        return [{key: value for key, value in spec["predictor"].items() if key not in own}]
    replicas = spec.get("tfReplicaSpecs") or spec["mpiReplicaSpecs"]
    return [replica["template"]["spec"] for replica in replicas.values()]


@pytest.mark.parametrize("given", [{"strategy": "multi_worker"}, {"strategy": "horovod"}, {"image": IMAGE}])
def test_every_replica_is_admitted_and_none_would_be_unset(
    kubectl: Kubectl, restricted: str, given: dict[str, Any]
) -> None:
    asked = {"workers": 2, "strategy": "multi_worker", **given}
    for pod in pods_of(training(**asked)):
        assert admitted(kubectl, restricted, pod)
    for pod in pods_of(training(**asked, pod_security="unset")):
        assert not admitted(kubectl, restricted, pod)


def test_a_predictor_is_admitted_and_would_not_be_unset(kubectl: Kubectl, restricted: str) -> None:
    (pod,), (bare,) = pods_of(endpoint(restricted)), pods_of(endpoint(restricted, pod_security="unset"))
    assert admitted(kubectl, restricted, pod)
    assert not admitted(kubectl, restricted, bare)


def test_a_training_in_an_image_that_runs_as_root_fails_with_the_settings_name(
    kube_rig: KubernetesRig, restricted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "STUCK_S", STUCK)
    outcome = kube_rig.executor.follow(kube_rig.executor.ensure(training(image=IMAGE)), deadline_s=120)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    (line,) = outcome.first_failure.last_lines
    assert ROOTS in line
    assert "pod_security=unset" in line


def test_an_endpoint_in_an_image_that_runs_as_root_fails_with_the_settings_name(
    kube_rig: KubernetesRig, restricted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "STUCK_S", STUCK)
    outcome = kube_rig.executor.follow(kube_rig.executor.ensure(endpoint(restricted, image=IMAGE)), deadline_s=120)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    (line,) = outcome.first_failure.last_lines
    assert ROOTS in line
    assert "pod_security=unset" in line


def admitted(kubectl: Kubectl, namespace: str, pod: dict[str, Any]) -> bool:
    """Whether the API server would take a pod."""
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": pod,
    }
    return kubectl.succeeds("create", "--dry-run=server", "-f", "-", document=document)
