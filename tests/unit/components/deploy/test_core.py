from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from shipway import labels
from shipway.components.deploy.core import Kept, chosen_rows, compare, example_body, inference_service
from shipway.components.deploy.spec import EndpointSpec, check_spec
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.executors.process.service_manifest import read_manifest
from shipway.inputs import load_input
from shipway.recipes import Columns
from shipway.specs import parse
from shipway.tasks import load_task
from shipway.tasks.model_answers import ModelAnswers
from tests.fixtures import waiting

SERVED = {
    "endpoint": "bot",
    "version": 3,
    "model_uri": "s3://shipway/models/bot/content/abc",
    "model_digest": "abc",
    "variant_digest": "123",
    "recipe": "intents",
    "answers": {"threshold": 0.4},
    "store_uri": "s3://shipway",
    "run": "r1",
    "namespace": "default",
}


def service(spec: EndpointSpec, **changed: Any) -> dict[str, Any]:
    return inference_service(spec, **{**SERVED, **changed})


def hash_of(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"]["annotations"][labels.SPEC_HASH])


def test_an_inference_service_serves_one_version_from_its_uri() -> None:
    manifest = service(EndpointSpec(name="bot", input={"max_chars": 50}))
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert manifest["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    container = manifest["spec"]["predictor"]["containers"][0]
    assert container["name"] == "kserve-container"
    assert "--model_uri=s3://shipway/models/bot/content/abc" in container["args"]
    assert '--answers={"threshold":0.4}' in container["args"]
    assert '--input={"max_chars":50}' in container["args"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/bot/ready"
    assert manifest["spec"]["predictor"]["terminationGracePeriodSeconds"] > 30
    assert not [entry for entry in container["env"] if "AWS" in entry["name"]]


def test_only_what_is_served_decides_adoption() -> None:
    spec = EndpointSpec(name="bot")
    assert hash_of(service(spec)) == hash_of(service(spec, run="another", namespace="prod"))
    for changed in (
        {"version": 4},
        {"answers": {"threshold": None}},
        {"model_digest": "def"},
        {"variant_digest": "456"},
        {"recipe": "mine:recipe"},
    ):
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
    with pytest.raises(InvalidSpec, match=r"env\[0\]\.valueFrom\.secretKeyRef: there is no secret here; set KEY"):
        read_manifest(manifest)
    manifest = service(EndpointSpec(name="bot"))
    manifest["spec"]["transformer"] = {}
    with pytest.raises(InvalidSpec, match=r"spec\.transformer: unknown field"):
        read_manifest(manifest)


def test_a_predictor_is_read_as_any_pod_is() -> None:
    manifest = service(EndpointSpec(name="bot", deadline_s=120), namespace="ml")
    container = manifest["spec"]["predictor"]["containers"][0]
    container["env"] = [
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "k"}}},
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "BOTH", "value": "$(NAMESPACE)/$(KEY)"},
    ]
    container["args"] = ["--key=$(KEY)"]
    launch = read_manifest(manifest, {"KEY": "secret"})
    assert launch.env == {"KEY": "secret", "NAMESPACE": "ml", "BOTH": "ml/secret"}
    assert launch.command[-1] == "--key=secret"
    assert (launch.start_deadline_s, launch.grace_s) == (
        120.0,
        manifest["spec"]["predictor"]["terminationGracePeriodSeconds"],
    )
    assert "spec.predictor.containers[0].startupProbe" not in launch.not_applied
    del container["startupProbe"]
    assert read_manifest(manifest, {"KEY": "secret"}).start_deadline_s == 300.0


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


@pytest.mark.parametrize(
    ("stated", "own"),
    [
        ({}, {}),
        ({"threshold": "calibrated"}, {}),
        ({"threshold": None}, {"threshold": None}),
        ({"threshold": 0.25}, {"threshold": 0.25}),
    ],
)
def test_a_setting_at_its_default_is_left_to_the_evaluation(stated: dict[str, Any], own: dict[str, Any]) -> None:
    spec = EndpointSpec(name="bot", answers=stated)
    assert check_spec(spec, load_task("classification"), load_input("text")) == own


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"answers": {"treshold": 1}}, r"endpoint\.answers\.treshold: unknown field; .*did you mean 'threshold'"),
        ({"answers": {"threshold": 2}}, r"endpoint\.answers\.threshold.*got 2"),
        ({"input": {"max_chars": 0}}, r"endpoint\.input\.max_chars: .*got 0"),
    ],
)
def test_what_the_task_or_the_input_does_not_know_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        check_spec(EndpointSpec(name="bot", **fields), load_task("classification"), load_input("text"))
    with pytest.raises(InvalidSpec, match="unknown field"):
        check_spec(EndpointSpec(name="bot", **fields), waiting.recipe.task, waiting.recipe.input)


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.400003, 0.4, 0.199997]], dtype=np.float32)
LABELS = ["a", "b", "c"]


def kept(rows: int = 2, threshold: float | None = None) -> Kept:
    """What evaluation kept of a classifier's answers."""
    task = load_task("classification")
    texts = ["x", "turn it on"][:rows]
    settings = task.answers.Settings(threshold=threshold)
    columns: Columns = {"probabilities": PROBABILITIES[:rows]}
    return Kept(load_input("text"), ModelAnswers(task.answers, LABELS), settings, texts, texts, columns)


def answer(*row: float) -> dict[str, Any]:
    best = int(np.argmax(row))
    return {
        "label": LABELS[best], "out_of_scope": False, "probability": row[best],
        "probabilities": dict(sorted(zip(LABELS, row, strict=True), key=lambda pair: -pair[1])),
    }  # fmt: skip


def test_answers_within_the_tolerance_pass_even_where_two_classes_tie() -> None:
    served = [answer(0.7, 0.2, 0.1), answer(0.4, 0.400003, 0.199997)]
    found = compare(kept(), served, 1e-5, [1.0, 3.0])
    assert found.passed
    assert found.latency_ms(0.5) == 2.0
    assert "2 rows within 1e-05" in found.reason


def test_a_difference_names_row_expected_and_got() -> None:
    found = compare(kept(), [answer(0.7, 0.2, 0.1), answer(0.1, 0.1, 0.8)], 1e-5)
    assert not found.passed
    assert "row 1 'turn it on': expected label a, probability 0.400, next b 0.400, c 0.200; got label c" in found.reason
    assert "1 of 2 rows differ" in found.reason
    assert found.agreement == 0.5


def test_what_is_expected_is_said_as_the_endpoint_is_set_to_answer() -> None:
    found = compare(kept(threshold=0.8), [answer(0.1, 0.2, 0.7), answer(*PROBABILITIES[1].tolist())], 1e-5)
    assert "expected label (none of these), probability 0.700" in found.reason


def test_a_flipped_top_class_fails_although_the_tolerance_is_wide() -> None:
    assert not compare(kept(1), [answer(0.45, 0.5, 0.05)], 0.2).passed
    assert compare(kept(1), [answer(0.52, 0.43, 0.05)], 0.25).passed
    assert not compare(kept(1), [answer(0.49, 0.51, 0.0)], 0.24).passed


@pytest.mark.parametrize("served", [answer(float("nan"), 0.2, 0.1), {}, {"label": "a"}, "a", None, {"minutes": 3}])
def test_an_answer_that_is_none_of_the_tasks_fails_and_is_shown(served: Any) -> None:
    found = compare(kept(1), [served], 1.0)
    assert not found.passed
    assert "got " in found.reason


def test_a_task_of_ones_own_is_compared_in_its_own_words() -> None:
    columns: Columns = {"minutes": np.array([12.0, 7.5], dtype=np.float32)}
    instances = [{"stops": 4, "passengers": 20}, {"stops": 2, "passengers": 3}]
    task, kind = waiting.recipe.task, waiting.recipe.input
    journeys = Kept(
        kind, ModelAnswers(task.answers, []), task.answers.Settings(), instances, ["4 stops", "2 stops"], columns
    )
    assert compare(journeys, [{"minutes": 12.0, "raw": 12.0}, {"minutes": 7.5, "raw": 7.5}], 1e-5).passed
    found = compare(journeys, [{"minutes": 12.0, "raw": 12.0}, {"minutes": 9, "raw": 9}], 1e-5)
    assert "row 1 '2 stops': expected minutes 7.50; got minutes 9.00 (difference 1.5, allowed 1e-05" in found.reason
    assert 'got {"label": "b"}' in compare(journeys, [{"label": "b"}] * 2, 1e-5).reason


def test_a_request_to_copy_is_of_the_endpoints_protocol() -> None:
    text, journey = load_input("text"), waiting.recipe.input
    assert example_body(text, "hi", "v1") == {"instances": ["hi"]}
    assert example_body(text, "hi", "v2") == {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["hi"]}]
    }
    assert example_body(journey, {"stops": 1, "passengers": 2}, "v1") == {"instances": [{"stops": 1, "passengers": 2}]}
    [tensor] = example_body(journey, [1, 2], "v2")["inputs"]
    assert (tensor["datatype"], tensor["shape"], tensor["data"]) == ("FP32", [1, 2], [[1, 2]])


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
