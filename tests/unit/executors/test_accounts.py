"""Every pod that we start says who it is and takes no token, and reaches nobody but whom it must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import labels
from shipway.components.deploy.core import inference_service
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.sweep import experiment
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.context import Context
from shipway.doctor import pods as doctor_pods
from shipway.doctor import trials as doctor_trials
from shipway.doctor.checkup import Checkup
from shipway.executors import Manifest
from shipway.executors.kubernetes import mpi, services
from shipway.executors.kubernetes.kinds import KINDS, SERVICE, kind_of
from shipway.executors.kubernetes.peers import has_peers, policy
from shipway.executors.kubernetes.rendering import PEERS, rendered
from shipway.specs import parse
from tests.fixtures.manifests import batch_job

CONTEXT = Context(home=Path("/nowhere"), store_uri="s3://b/p", run="r1", executor="kubernetes", namespace="team")
MANIFESTS = Path(__file__).parents[3] / "manifests"
FILES = sorted(MANIFESTS.rglob("*.yaml"))


def training(**given: Any) -> Manifest:
    return render(parse(TrainingSpec, {"name": "bot", **given}, "training"), "bot", "s3://b/d", store_uri="s3://b/p")


def trials(**given: Any) -> Manifest:
    document = {"objective": {"objectiveMetricName": "accuracy"}, "parameters": {"learning_rate": "uniform(0, 1)"},
                "maxTrialCount": 1, "training": {"name": "bot", **given}}  # fmt: skip
    spec = parse(SweepSpec, document, "sweep")
    return experiment.render(spec, "search", experiment.trial_template(spec, "s3://b/d", "s3://b/p"))


def endpoint(**given: Any) -> Manifest:
    return inference_service(
        EndpointSpec(name="bot", **given), endpoint="bot", version=1, model_uri="s3://b/m", model_digest="",
        variant_digest="", recipe="", answers={}, store_uri="s3://b/p", run="r", namespace="team",
    )  # fmt: skip


MADE: dict[str, list[Manifest]] = {
    "kubeflow.org/v1 TFJob": [training(), training(strategy="multi_worker", workers=3, pod_security="unset")],
    "kubeflow.org/v1 MPIJob": [training(strategy="horovod", workers=2)],
    "kubeflow.org/v2beta1 MPIJob": [mpi.as_v2beta1(training(strategy="horovod", workers=2))],
    "batch/v1 Job": [batch_job("j", "pass")],
    "kubeflow.org/v1beta1 Experiment": [trials(), trials(strategy="multi_worker", workers=2),
                                        trials(strategy="horovod", workers=2)],
    "serving.kserve.io/v1beta1 InferenceService": [endpoint(), endpoint(image="own:1", pod_security="unset")],
}  # fmt: skip


def launched(manifest: Manifest) -> Manifest:
    if manifest["kind"] == SERVICE:
        return services.rendered(manifest, CONTEXT)
    return rendered(manifest, kind_of(manifest), CONTEXT, 0, None, "")


def pods_in(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything with containers, wherever it lies: a kind that nobody has heard of too."""
    if isinstance(node, dict):
        if isinstance(node.get("containers"), list):
            yield path, node
        for key, value in node.items():
            yield from pods_in(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from pods_in(value, f"{path}.{index}")


def test_every_kind_that_the_executor_plays_is_looked_at() -> None:
    assert set(MADE) == {f"{kind.api_version} {kind.name}" for kind in KINDS.values()}


@pytest.mark.parametrize("manifest", [each for made in MADE.values() for each in made], ids=lambda each: each["kind"])
def test_what_is_launched_names_its_account_and_takes_no_token(manifest: Manifest) -> None:
    made = launched(manifest)
    found = list(pods_in(made))
    assert found
    account = "shipway-predictor" if made["kind"] == SERVICE else "shipway-replica"
    for path, pod in found:
        is_operators = ".Launcher." in path and "kubeflow.org/v1'" in f"{_owner(made)['apiVersion']}'"
        expected = (None, None) if is_operators else (account, False)
        assert (pod.get("serviceAccountName"), pod.get("automountServiceAccountToken")) == expected, path


def _owner(made: Manifest) -> dict[str, Any]:
    """The job whose replicas the pods are: the trial of an Experiment."""
    found: dict[str, Any] = made["spec"].get("trialTemplate", {}).get("trialSpec", made)
    return found


def test_an_account_that_a_spec_names_is_that_of_all_its_pods_but_the_operators() -> None:
    spec = {"strategy": "horovod", "workers": 2, "service_account": "own"}
    roles = {"v1": [None, "own"], "v2beta1": ["own", "own"]}
    for version, manifest in (("v1", training(**spec)), ("v2beta1", mpi.as_v2beta1(training(**spec)))):
        pods = [pod.get("serviceAccountName") for _, pod in pods_in(launched(manifest))]
        assert pods == roles[version]
    (pod,) = (pod for _, pod in pods_in(launched(endpoint(service_account="own"))))
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("own", False)


def test_what_the_doctor_starts_is_no_exception() -> None:
    checkup = Checkup(None, "team", image="i")
    replica = doctor_pods._replica(checkup, "shipway-store")["spec"]
    assert (replica["serviceAccountName"], replica["automountServiceAccountToken"]) == ("shipway-replica", False)
    for manifest in (doctor_trials._tfjob(checkup), doctor_trials._service(checkup)):
        (pod,) = (pod for _, pod in pods_in(launched(manifest)))
        assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_every_pod_of_the_manifests_names_its_account_and_says_whether_it_takes_a_token(path: Path) -> None:
    if "kfp" in path.parts:  # patches of KFP's own objects
        return
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for where, pod in pods_in(document):
            assert pod["serviceAccountName"].startswith("shipway-"), where
            takes = pod["automountServiceAccountToken"]
            assert takes == (pod["serviceAccountName"] == "shipway-reaper"), f"{where}: only the reaper asks the API"
        if document and document["kind"] == "ServiceAccount" and document["metadata"]["name"] != "pipeline-runner":
            assert document["automountServiceAccountToken"] is False


# -- whom they reach ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_a_network_policy_says_to_whom_and_from_whom(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if not document or document.get("kind") != "NetworkPolicy":
            continue
        spec = document["spec"]
        for rules, peers in (("egress", "to"), ("ingress", "from")):
            for rule in spec.get(rules) or []:
                assert rule.get(peers), f"{document['metadata']['name']}: {rules} with any peer"
                assert {"ipBlock": {"cidr": "0.0.0.0/0"}} not in rule[peers]


def test_replicas_reach_dns_storage_and_the_replicas_of_their_own_job() -> None:
    (training_policy, _, predictors) = yaml.safe_load_all((MANIFESTS / "base/network-policies.yaml").read_text())
    assert training_policy["spec"]["policyTypes"] == predictors["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in training_policy["spec"], "closed; what opens it is each job's own policy"
    for spec in (training_policy["spec"], predictors["spec"]):
        (dns,) = spec["egress"]
        assert {port["port"] for port in dns["ports"]} == {53}
    manifest = training(strategy="multi_worker", workers=2)
    made = launched(manifest)
    made["metadata"]["uid"] = "01234567-89ab"
    fence = policy(kind_of(made), made)
    ours = {"podSelector": {"matchLabels": {PEERS: "bot"}}}
    assert fence["spec"] == {**ours, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [ours]}],
                             "egress": [{"to": [ours]}]}  # fmt: skip
    assert fence["metadata"]["name"] == "bot-01234567"
    assert fence["metadata"]["ownerReferences"][0]["uid"] == "01234567-89ab"
    for template in made["spec"]["tfReplicaSpecs"].values():
        given = template["template"]["metadata"]["labels"]
        assert (given[PEERS], given[labels.MANAGED_BY]) == ("bot", "shipway")


@pytest.mark.parametrize(("manifest", "expected"), [
    (training(), False),
    (training(strategy="multi_worker", workers=2), True),
    (training(strategy="horovod", workers=2), True),
    (trials(), False),
    (trials(strategy="multi_worker", workers=2), True),
    (batch_job("j", "pass"), False),
    (endpoint(replicas=2), False),
])  # fmt: skip
def test_a_policy_is_made_for_a_job_with_peers_alone(manifest: Manifest, expected: bool) -> None:
    assert has_peers(kind_of(manifest), manifest) is expected


def test_trials_are_fenced_and_are_no_replicas_of_their_experiment() -> None:
    made = launched(trials(strategy="multi_worker", workers=2))
    for replica in made["spec"]["trialTemplate"]["trialSpec"]["spec"]["tfReplicaSpecs"].values():
        given = replica["template"]["metadata"]["labels"]
        assert (given[labels.MANAGED_BY], given[PEERS]) == ("shipway", "search")
        assert "shipway.dev/job" not in given


# -- what keys they hold -----------------------------------------------------------------------------------------------


def test_replicas_and_predictors_take_the_secret_that_is_named_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_REPLICA_SECRET", "shipway-replica-store")
    monkeypatch.setenv("SHIPWAY_PREDICTOR_SECRET", "shipway-predictor-store")
    for manifest, secret in ((training(), "replica"), (trials(), "replica"), (endpoint(), "predictor")):
        for _, pod in pods_in(launched(manifest)):
            for container in pod["containers"]:
                assert container["envFrom"] == [{"secretRef": {"name": f"shipway-{secret}-store"}}], "and must be there"
