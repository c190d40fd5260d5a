"""The pod of a task, from a compiled pipeline, as KFP 2.17 makes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler

from shipway import images, step_pod
from shipway.compiling import compile_pipeline
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.own_pod import read_pod
from shipway.store_secret import DEFAULT_SECRET, KEYS, OPTIONAL, STORE_SECRET
from tests.fixtures.kubernetes_api import Cluster
from tests.fixtures.manifests import wait_for
from tests.fixtures.told_pipeline import told

Documents = list[dict[str, Any]]
STORE_ENV = Path(__file__).parents[2] / "manifests" / "overlays" / "standalone" / "store.env"
# What each step of ours does first, the plan as well.
BEGINS = ["python", "-c", "from shipway.context import Context; print('store', Context.current().store_uri)"]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    path = tmp_path_factory.mktemp("compiled") / "told.yaml"
    compiler.Compiler().compile(told, str(path))
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_secrets_set_on_a_task_are_variables_of_its_container(documents: Documents) -> None:
    found = {each["name"]: each.get("valueFrom") for each in step_pod.step_environment(documents, "exec-look")}
    assert set(found) == {*KEYS, STORE_SECRET, *OPTIONAL, "KFP_POD_NAME", "KFP_POD_UID"}
    assert found["AWS_REGION"] == {"secretKeyRef": {"name": "team-store", "key": "AWS_REGION"}}
    assert found["SHIPWAY_WEBHOOK"]["secretKeyRef"]["optional"] is True
    assert found["KFP_POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert step_pod.required_keys(documents) == {"team-store": list(KEYS)}


def test_a_component_that_hands_its_environment_on_has_none_itself(documents: Documents) -> None:
    ir, platform = documents
    component = {**ir["components"]["comp-look"], "taskConfigPassthroughs": [{"field": "ENV"}]}
    handed_on = {**ir, "components": {"comp-look": component}}
    names = [each["name"] for each in step_pod.step_environment([handed_on, platform], "exec-look")]
    assert names == [STORE_SECRET, "KFP_POD_NAME", "KFP_POD_UID"], "what the component itself says stays"
    component["taskConfigPassthroughs"] = [{"field": "ENV", "applyToTask": True}]
    assert len(step_pod.step_environment([handed_on, platform], "exec-look")) == 12
    component["taskConfigPassthroughs"] = [{"field": "RESOURCES"}]
    assert len(step_pod.step_environment([handed_on, platform], "exec-look")) == 12


def test_a_secret_that_only_the_run_names_is_required_of_nobody(documents: Documents) -> None:
    named = {"componentInputParameter": "secret"}
    setting = {"secretNameParameter": named, "keyToEnv": [{"secretKey": "A", "envVar": "A"}]}
    platform = {
        "platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-look": {"secretAsEnv": [setting]}}}}}
    }
    assert step_pod.required_keys([documents[0], platform]) == {}
    assert step_pod.required_keys(documents[:1]) == {}


def test_a_steps_pod_is_one_that_a_step_knows_itself_by(documents: Documents) -> None:
    made = step_pod.step_pod(
        documents, executor="exec-look", name="p", namespace="ml", account="default-editor", run="r1",
        command=["python", "--execution_id", "7"], security={"runAsNonRoot": True},
    )  # fmt: skip
    own = read_pod(made)
    assert (own.namespace, own.run, own.execution) == ("ml", "r1", "7")
    spec, container = made["spec"], made["spec"]["containers"][0]
    assert (spec["serviceAccountName"], container["image"], container["name"]) == (
        "default-editor", images.LAUNCHER, "main",
    )  # fmt: skip
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}, "KFP lets an image run as root"
    assert container["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {each["mountPath"] for each in container["volumeMounts"]} >= {"/kfp-launcher", "/s3", "/minio", "/gcs"}
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in spec["volumes"]}


@pytest.mark.parametrize(("image", "is_ours"), [
    (images.LAUNCHER, True),
    ("registry.example.com:5000/ml/python-tensorflow@sha256:0123", True),
    ("localhost/python-launcher:9", True),
    ("python:3.11", False),
    ("ghcr.io/shipway/python-launcher-like:1", False),
])  # fmt: skip
def test_our_images_are_known_under_any_registry_tag_or_digest(image: str, is_ours: bool) -> None:
    documents = [
        {"deploymentSpec": {"executors": {"exec-a": {"container": {"image": image}}, "exec-b": {"importer": {}}}}}
    ]
    assert step_pod.ours(documents) == (["exec-a"] if is_ours else [])


# -- the pipeline that we ship, with the Secret that its install makes -------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    out = compile_pipeline("train_and_deploy", tmp_path_factory.mktemp("shipped") / "p.yaml")
    return list(yaml.safe_load_all(out.read_text(encoding="utf-8")))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    lines = STORE_ENV.read_text(encoding="utf-8").splitlines()
    with Cluster(tmp_path) as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig()))
        running.images = dict.fromkeys(images.DEFAULTS.values(), True)
        running.secret(DEFAULT_SECRET, dict(line.split("=", 1) for line in lines if not line.startswith("#")))
        yield running


def begun(cluster: Cluster, documents: Documents, executor: str) -> tuple[str, str]:
    """How the pod of a task ends that begins as every step does, and what it says last; no variable but the pod's."""
    pod = step_pod.step_pod(
        documents, executor=executor, name=executor, namespace="ml", account="pipeline-runner", command=BEGINS
    )
    status = Api().post("/api/v1/namespaces/ml/pods", pod)["status"]
    path = f"/api/v1/namespaces/ml/pods/{executor}"

    def ended() -> str:
        nonlocal status
        status = Api().get(path)["status"]
        (container,) = status.get("containerStatuses") or [{"state": {}}]
        return str(status["phase"] if "terminated" in container["state"] else container["state"].get("waiting") or "")

    phase = str(wait_for(ended, f"{executor} ends, or is held back"))
    return phase, (cluster.logs.get(executor, "").splitlines() or [""])[-1]


def test_each_step_of_the_shipped_pipeline_finds_the_store_by_its_pod_alone(
    cluster: Cluster, shipped: Documents
) -> None:
    ends = {executor: begun(cluster, shipped, executor) for executor in step_pod.executors(shipped)}
    assert ends == dict.fromkeys(ends, ("Succeeded", "store s3://mlpipeline/shipway"))
    assert len(ends) == 7


def test_as_kfp_compiles_it_without_the_secret_no_step_gets_anywhere(cluster: Cluster, shipped: Documents) -> None:
    phase, said = begun(cluster, shipped[:1], "exec-plan")
    assert (phase, "SHIPWAY_STORE: this step's pod was not given the store's Secret" in said) == ("Failed", True)
