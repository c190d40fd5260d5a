"""`doctor --cluster` against a stand-in for Kubernetes whose pods are real processes, and a real object store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shipway import images
from shipway.cli.main import app
from shipway.doctor import Finding, pods
from shipway.doctor import cluster as doctor_of_cluster
from shipway.doctor.cluster import examine
from shipway.storage.server import ServerInfo
from shipway.store_secret import KEYS
from tests.fixtures import told_pipeline
from tests.fixtures.kfp_server import KfpServer
from tests.fixtures.kubernetes_api import Cluster

PIPELINE = f"{told_pipeline.__file__}:told"
REPLICA, STEP = "storage from a pod", "storage from a step"
Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def values(store_uri: str, embedded_store: ServerInfo) -> dict[str, str]:
    """What a Secret that leads to the store holds."""
    return {key: os.environ[key] for key in KEYS}


@pytest.fixture
def cluster(values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster where all is well for the pipeline `told`."""
    for name in list(os.environ):
        if name.startswith(("SHIPWAY_", "KF_", "KUBE", "AWS_")) and "TEST" not in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with Cluster(tmp_path) as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig()))
        running.add("", "serviceaccounts", "pipeline-runner", {})
        running.images[images.LAUNCHER] = True
        for name in ("shipway-store", "team-store"):
            running.secret(name, values)
        yield running


@pytest.fixture
def look(cluster: Cluster) -> Look:
    def examined(**options: str) -> dict[str, Finding]:
        return {each.what: each for each in examine(**{"namespace": "ml", "pipeline": PIPELINE, **options})}

    return examined


def test_a_step_reads_its_own_pod_and_makes_the_whole_round_trip(look: Look, cluster: Cluster) -> None:
    found = look()
    assert [(found[what].state, found[what].found) for what in (REPLICA, STEP)] == [
        ("ok", "written, read, listed and deleted")
    ] * 2
    replica, step = cluster.created
    assert step["metadata"]["labels"]["pipeline/runid"]
    accounts = [pod["spec"]["serviceAccountName"] for pod in (step, replica)]
    assert accounts == ["pipeline-runner", "shipway-replica"]
    tokens = [pod["spec"].get("automountServiceAccountToken") for pod in (step, replica)]
    assert tokens == [None, False], "a step needs its token, as KFP's launcher does"
    assert "envFrom" in replica["spec"]["containers"][0]
    assert not any("/pods/" in path for path in cluster.objects), "both are deleted"


def test_a_step_that_is_cut_off_is_found_though_a_replica_reaches_the_store(
    look: Look, cluster: Cluster, values: dict[str, str]
) -> None:
    cluster.secret("team-store", {**values, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    found = look()
    assert found[REPLICA].state == "ok"
    assert (found[STEP].state, "nobody answers at http://127.0.0.1:9" in found[STEP].found) == ("missing", True)
    assert found[STEP].mend.startswith("kubectl -n ml edit secret team-store; AWS_ENDPOINT_URL")


@pytest.mark.parametrize(("changed", "kind", "key"), [
    ({"AWS_SECRET_ACCESS_KEY": "other"}, "AccessDenied", "AWS_SECRET_ACCESS_KEY"),
    ({"SHIPWAY_STORE": "bucket/x"}, "InvalidSpec", "SHIPWAY_STORE"),
])  # fmt: skip
def test_a_wrong_key_is_named(
    changed: dict[str, str], kind: str, key: str, look: Look, cluster: Cluster, values: dict[str, str]
) -> None:
    cluster.secret("team-store", {**values, **changed})
    found = look()[STEP]
    assert (found.state, kind in found.found, key in found.mend) == ("missing", True, True), found


def test_an_account_that_may_not_read_its_own_pod_is_found(look: Look, cluster: Cluster) -> None:
    cluster.powerless.add("pipeline-runner")
    found = look()[STEP]
    assert found.state == "missing"
    assert found.found.startswith("read its own pod: UserError: pod shipway-doctor-")
    assert found.mend.startswith("kubectl kustomize manifests/overlays/kubeflow")


def test_a_secret_of_the_steps_that_is_not_there_is_told_with_what_makes_it(look: Look, cluster: Cluster) -> None:
    del cluster.objects["/api/v1/namespaces/ml/secrets/team-store"]
    found = look()
    assert found["Secret team-store"].state == "missing"
    assert found["Secret team-store"].mend.startswith(
        "kubectl -n ml create secret generic team-store --from-literal=AWS_E"
    )
    assert found[STEP].found == "not tried: see what is missing above"
    assert cluster.created == []


def test_a_key_that_is_not_there_stops_the_pod_and_is_told_by_whoever_may_not_see_secrets(
    look: Look, cluster: Cluster, values: dict[str, str]
) -> None:
    cluster.secret("team-store", {key: value for key, value in values.items() if key != "AWS_REGION"})
    assert look()["Secret team-store"].found == "without AWS_REGION"
    cluster.hidden.append("/secrets/")
    found = look()
    assert "not visible to ada" in found["storage Secret"].found
    told = "CreateContainerConfigError: couldn't find key AWS_REGION in Secret ml/team-store"
    assert (found[STEP].state, found[STEP].found) == ("missing", told)
    assert found[STEP].mend == "kubectl -n ml describe secret team-store"


def test_an_image_without_shipway_proves_nothing_and_is_not_green(look: Look, cluster: Cluster) -> None:
    cluster.images["bare"] = False
    found = look(image="bare")
    for what in (REPLICA, STEP):
        assert (found[what].state, found[what].found.startswith("not tried with keys: answers over HTTP")) == (
            "info",
            True,
        )


def test_an_image_that_cannot_be_pulled_is_told_once(look: Look, cluster: Cluster) -> None:
    cluster.images.clear()
    found = look()
    assert (found["image"].state, found[STEP].state) == ("missing", "info")
    assert len(cluster.created) == 1


def test_a_version_that_was_published_without_the_secret_is_found(
    look: Look, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier Shipway published it: the cluster runs the published version, whatever this package compiles."""
    from shipway.remote import connect

    with KfpServer() as server:
        monkeypatch.setenv("SHIPWAY_KFP", server.url)
        published = connect().publish(PIPELINE, version="1", pin=False)
        assert look(pipeline="told")["pipeline told"].found.startswith(
            f"{published.version}, published at {server.url}; 1 "
        )
        (version,) = server.state.versions.values()
        version.pipeline_spec = {"pipeline_spec": version.pipeline_spec["pipeline_spec"]}
        found = look(pipeline="told")
    assert found["pipeline told"].state == "missing"
    assert "1 of 1 steps get no SHIPWAY_STORE: look" in found["pipeline told"].found
    assert (found[REPLICA].state, found[STEP].state) == ("ok", "missing")


def test_what_was_not_tried_is_never_called_well(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_of_cluster, "_checks", lambda: ((STEP, pods.step),))
    result = CliRunner().invoke(app, ["doctor", "--cluster", "-n", "ml"])
    assert (result.exit_code, "Nothing is missing; not tried: storage from a step." in result.output) == (0, True)
