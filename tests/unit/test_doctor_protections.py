"""Which fences `doctor --cluster` finds missing, and the command that puts each up; a stand-in answers as the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway.doctor import Finding, protections
from shipway.doctor.checkup import Check, Checkup
from shipway.executors.kubernetes.api import Api
from shipway.store_secret import KEYS
from tests.fixtures.kubernetes_api import Cluster

MANIFESTS = Path(__file__).parents[2] / "manifests"
VALUES = {key: f"{key}-of-steps" for key in KEYS}
Look = Callable[[Check], dict[str, Finding]]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig()))
        yield running


@pytest.fixture
def look(cluster: Cluster) -> Look:
    def examined(check: Check, **given: Any) -> dict[str, Finding]:
        checkup = Checkup(Api(patience_s=1), "ml", "pipeline-runner", **given)
        return {each.what: each for each in check(checkup)}

    return examined


def install(cluster: Cluster, folder: str, *, label: str = "") -> None:
    """What the files of a folder hold, as objects of the stand-in."""
    for path in sorted((MANIFESTS / folder).glob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            if not each or each["kind"] == "Kustomization":
                continue
            plural = each["kind"].lower().removesuffix("y") + ("ies" if each["kind"].endswith("y") else "s")
            group = "" if each["apiVersion"] == "v1" else each["apiVersion"]
            is_wide = group.startswith("admissionregistration")
            cluster.add(group, plural, each["metadata"]["name"], each, core=is_wide)
    if label:
        cluster.objects["/api/v1/namespaces/ml"]["metadata"]["labels"] = {"shipway.dev/admission": label}


def test_policies_that_nobody_installed_are_named(look: Look) -> None:
    found = look(protections.admission)["admission policies"]
    assert found.state == "warn"
    assert "shipway-launched, shipway-ended, shipway-peers" in found.found
    assert found.mend == (
        "kubectl apply -k manifests/admission && kubectl label --overwrite namespace ml shipway.dev/admission=enforce"
    )


@pytest.mark.parametrize(("label", "state"), [("", "warn"), ("off", "warn"), ("enforce", "ok")])
def test_policies_are_in_force_where_the_namespace_says_so(
    look: Look, cluster: Cluster, label: str, state: str
) -> None:
    install(cluster, "admission", label=label)
    found = look(protections.admission)["admission policies"]
    assert found.state == state
    assert ("kubectl label" in found.mend) == (state == "warn")


def test_policies_that_do_not_know_the_steps_account_are_told(cluster: Cluster) -> None:
    install(cluster, "admission", label="enforce")
    (found,) = protections.admission(Checkup(Api(patience_s=1), "ml", "robot"))
    assert (found.state, "do not name robot" in found.found) == ("warn", True)


def test_an_account_that_mounts_its_token_is_told(look: Look, cluster: Cluster) -> None:
    install(cluster, "base")
    assert look(protections.tokens)["tokens"].state == "ok"
    del cluster.objects["/api/v1/namespaces/ml/serviceaccounts/shipway-predictor"]["automountServiceAccountToken"]
    found = look(protections.tokens)["tokens"]
    assert (found.state, found.found.split()[0]) == ("warn", "shipway-predictor")


def test_network_policies_that_are_gone_or_open_are_told(look: Look, cluster: Cluster) -> None:
    assert look(protections.network)["network policies"].state == "warn"
    install(cluster, "base")
    install(cluster, "overlays/standalone")
    found = look(protections.network)["network policies"]
    assert (found.state, "cannot be asked" in found.found) == ("ok", True)
    path = "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies/shipway-training"
    cluster.objects[path]["spec"]["ingress"] = [{"from": [{"podSelector": {}}]}]
    assert "of an earlier version" in look(protections.network)["network policies"].found


def test_replicas_with_the_keys_of_steps_are_told_with_what_makes_others(look: Look, cluster: Cluster) -> None:
    cluster.secret("shipway-store", VALUES)
    found = look(protections.keys)
    for role in ("replica", "predictor"):
        finding = found[f"keys of {role}s"]
        assert finding.state == "warn"
        assert f"shipway store policy {role}; kubectl -n ml create secret generic shipway-{role}-store" in finding.mend
        assert f'"SHIPWAY_{role.upper()}_SECRET": "shipway-{role}-store"' in finding.mend


@pytest.mark.parametrize(("own", "state", "said"), [
    (None, "missing", "which lacks AWS_ENDPOINT_URL"),
    ({**VALUES, "SHIPWAY_STORE": ""}, "missing", "which lacks SHIPWAY_STORE"),
    (VALUES, "warn", "the very keys of the steps"),
    ({**VALUES, "AWS_ACCESS_KEY_ID": "less"}, "ok", "not the steps'"),
])  # fmt: skip
def test_a_secret_that_is_named_for_replicas_is_looked_into(
    look: Look, cluster: Cluster, own: dict[str, str] | None, state: str, said: str
) -> None:
    cluster.secret("shipway-store", {**VALUES, "SHIPWAY_REPLICA_SECRET": "less-store"})
    if own is not None:
        cluster.secret("less-store", own)
    found = look(protections.keys)["keys of replicas"]
    assert found.state == state
    assert said in found.found
