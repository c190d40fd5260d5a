from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from shipway import labels
from shipway.components.deploy.core import chosen_rows, compare, inference_service
from shipway.components.deploy.spec import EndpointSpec
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.executors.process.service_manifest import read_manifest
from shipway.specs import parse

SERVED = {
    "endpoint": "bot",
    "version": 3,
    "model_uri": "s3://shipway/models/bot/content/abc",
    "model_digest": "abc",
    "recipe": "intents",
    "threshold": 0.4,
    "store_uri": "s3://shipway",
    "run": "r1",
    "namespace": "default",
}


def service(spec: EndpointSpec, **changed: Any) -> dict[str, Any]:
    return inference_service(spec, **{**SERVED, **changed})


def hash_of(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["annotations"][labels.SPEC_HASH])


def test_an_inference_service_serves_one_version_from_its_uri() -> None:
    manifest = service(EndpointSpec(name="bot"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert manifest["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    container = manifest["spec"]["predictor"]["containers"][0]
    assert container["name"] == "kserve-container"
    assert "--model_uri=s3://shipway/models/bot/content/abc" in container["args"]
    assert "--threshold=0.4" in container["args"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/bot/ready"
    assert manifest["spec"]["predictor"]["terminationGracePeriodSeconds"] > 30
    assert not [entry for entry in container["env"] if "AWS" in entry["name"]]


def test_only_what_is_served_decides_adoption() -> None:
    spec = EndpointSpec(name="bot")
    assert hash_of(service(spec)) == hash_of(service(spec, run="another", namespace="prod"))
    for changed in ({"version": 4}, {"threshold": None}, {"model_digest": "def"}, {"recipe": "mine:recipe"}):
        assert hash_of(service(spec)) != hash_of(service(spec, **changed))
    assert hash_of(service(spec)) != hash_of(service(EndpointSpec(name="bot", port=8123)))


def test_a_predictor_asks_for_no_more_than_pod_securitys_restricted_level() -> None:
    predictor = service(EndpointSpec(name="bot"))["spec"]["predictor"]
    assert predictor["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = predictor["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp", "/home/shipway"]
    unset = service(EndpointSpec(name="bot", pod_security="unset"))["spec"]["predictor"]
    assert not {"securityContext", "volumes"} & set(unset)


def test_a_candidate_never_asks_for_the_endpoints_port() -> None:
    spec = EndpointSpec(name="bot", port=8123)
    assert read_manifest(service(spec)).port == 8123
    assert read_manifest(service(spec, endpoint=identity.candidate_name("bot"))).port is None


def test_credentials_and_account_come_by_name() -> None:
    spec = EndpointSpec(name="bot", store_secret="aws", service_account="reader", node_selector={"disk": "ssd"})
    predictor = service(spec)["spec"]["predictor"]
    assert predictor["containers"][0]["envFrom"] == [{"secretRef": {"name": "aws"}}]
    assert (predictor["serviceAccountName"], predictor["nodeSelector"]) == ("reader", {"disk": "ssd"})
    assert len(read_manifest(service(spec)).not_applied) > 5


def test_a_foreign_image_and_a_secret_reference_are_refused_here() -> None:
    with pytest.raises(InvalidSpec, match=r"containers\[0\]\.image: no environment"):
        read_manifest(service(EndpointSpec(name="bot", image="docker.io/someone/server:1")))
    assert read_manifest(service(EndpointSpec(name="bot", image="registry.example.com/ml/python-predictor@sha256:0")))
    manifest = service(EndpointSpec(name="bot"))
    manifest["spec"]["predictor"]["containers"][0]["env"] = [{"name": "KEY", "valueFrom": {"secretKeyRef": {}}}]
    with pytest.raises(InvalidSpec, match=r"env\[0\] \(KEY\): valueFrom"):
        read_manifest(manifest)
    manifest = service(EndpointSpec(name="bot"))
    manifest["spec"]["transformer"] = {}
    with pytest.raises(InvalidSpec, match=r"spec\.transformer: not supported"):
        read_manifest(manifest)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"name": "My Bot"}, r"endpoint\.name: string should match"),
        ({"name": "bot", "replica": 2}, r"endpoint\.replica: unknown field.*did you mean 'replicas'"),
        ({"name": "bot", "port": 70000}, r"endpoint\.port: .*65535"),
        ({"name": "bot", "resources": {"cpu": "many"}}, r"endpoint\.resources\.cpu"),
    ],
)
def test_a_wrong_spec_is_one_line(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        parse(EndpointSpec, document, "endpoint")


EXPECTED = np.array([[0.7, 0.2, 0.1], [0.400003, 0.4, 0.199997]], dtype=np.float32)


def test_answers_within_the_tolerance_pass_even_where_two_classes_tie() -> None:
    served = np.array([[0.7, 0.2, 0.1], [0.4, 0.400003, 0.199997]], dtype=np.float32)
    found = compare(["x", "y"], ["a", "b", "c"], EXPECTED, served, 1e-5, [1.0, 3.0])
    assert found.passed
    assert found.latency_ms(0.5) == 2.0
    assert "2 rows within 1e-05" in found.reason


def test_a_difference_names_row_expected_and_got() -> None:
    served = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32)
    found = compare(["x", "turn it on"], ["a", "b", "c"], EXPECTED, served, 1e-5)
    assert not found.passed
    assert "row 1 'turn it on': expected a 0.400003, got c 0.800000" in found.reason
    assert "1 of 2 rows differ" in found.reason
    assert found.argmax_agreement == 0.5


def test_a_flipped_top_class_fails_although_the_tolerance_is_wide() -> None:
    expected = np.array([[0.6, 0.4]], dtype=np.float32)
    assert not compare(["x"], ["a", "b"], expected, np.array([[0.52, 0.48]], np.float32), 0.05).passed
    assert compare(["x"], ["a", "b"], expected, np.array([[0.56, 0.44]], np.float32), 0.05).passed
    flipped = compare(["x"], ["a", "b"], expected, np.array([[0.49, 0.51]], np.float32), 0.09)
    assert not flipped.passed


def test_an_answer_that_is_no_number_fails() -> None:
    assert not compare(["x"], ["a", "b"], EXPECTED[:1, :2], np.array([[np.nan, 0.2]], np.float32), 1.0).passed


def test_the_rows_that_are_sent_are_spread_and_always_the_same() -> None:
    assert chosen_rows(10, 3).tolist() == [0, 4, 9]
    assert chosen_rows(3, 10).tolist() == [0, 1, 2]
    assert chosen_rows(0, 5).tolist() == []


@pytest.mark.heavy
def test_every_field_is_one_that_kserve_and_kubernetes_know() -> None:
    """In a process of its own: the predictor's tests import kserve without these models."""
    spec = EndpointSpec(name="bot", store_secret="aws", service_account="reader", node_selector={"disk": "ssd"})
    code = (
        "import json, sys, kserve, kubernetes.client as k; spec = json.load(sys.stdin)['spec']; "
        "p = spec['predictor']; names = lambda model: set(model.attribute_map.values()); "
        "print(set(spec) - names(kserve.V1beta1InferenceServiceSpec), set(p) - names(kserve.V1beta1PredictorSpec), "
        "set(p['containers'][0]) - names(k.V1Container))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(service(spec)), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set() set() set()"
