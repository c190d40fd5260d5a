"""A Secret that the steps of a published version take is looked at before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipway.errors import InvalidSpec
from shipway.remote import Connection, connect
from shipway.storage import embedded
from shipway.storage.server import ServerInfo
from tests.fixtures import told_pipeline
from tests.fixtures.kfp_server import KfpServer
from tests.fixtures.kubernetes_api import Cluster
from tests.unit.remote.conftest import FAST

TOLD = f"{told_pipeline.__file__}:told"
VALUES = {
    "AWS_ENDPOINT_URL": "http://seaweedfs.kubeflow.svc:9000",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_REGION": "us-east-1",
    "SHIPWAY_STORE": "s3://mlpipeline/shipway",
}
WITHOUT_REGION = {key: value for key, value in VALUES.items() if key != "AWS_REGION"}


@pytest.fixture
def told(kubeflow: Connection) -> str:
    return kubeflow.publish(TOLD, version="1", pin=False).pipeline


@pytest.fixture
def cluster(server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster in which the stand-in for Kubeflow Pipelines is."""
    with Cluster(tmp_path, "kubeflow") as running:
        running.kfp = server.url
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig()))
        yield running


def test_a_secret_that_is_not_there_is_refused_before_anything_is_sent(
    kubeflow: Connection, server: KfpServer, told: str, cluster: Cluster
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        kubeflow.submit(told)
    line = str(refused.value)
    assert line.startswith("Secret team-store in namespace kubeflow: there is none, and steps take AWS_ENDPOINT_URL, ")
    assert "; kubectl -n kubeflow create secret generic team-store --from-literal=AWS_ENDPOINT_URL=" in line
    assert "SHIPWAY_WEBHOOK" not in line, "a pod starts without what is optional"
    assert "\n" not in line
    assert server.sent("POST", "/runs") == 0


def test_missing_keys_are_named_with_the_command_that_sets_them(
    kubeflow: Connection, told: str, cluster: Cluster
) -> None:
    cluster.secret("team-store", WITHOUT_REGION)
    with pytest.raises(InvalidSpec, match="namespace kubeflow: without AWS_REGION") as refused:
        kubeflow.prepare(told)
    assert """patch secret team-store --type merge -p '{"stringData": {"AWS_REGION": "us-east-1"}}'""" in str(
        refused.value
    )


def test_the_secret_of_a_profile_is_the_one_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KfpServer(multi_user=True) as server, Cluster(tmp_path, "ada") as cluster:
        cluster.kfp = server.url
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
        kubeflow = connect(server.url, namespace="ada", patience=FAST)
        told = kubeflow.publish(TOLD, version="1", pin=False).pipeline
        cluster.secret("team-store", VALUES, namespace="kubeflow")
        with pytest.raises(InvalidSpec, match="Secret team-store in namespace ada: there is none"):
            kubeflow.prepare(told)
        cluster.secret("team-store", VALUES)
        assert kubeflow.prepare(told).notes == ()


def test_a_store_that_is_out_of_reach_from_here_is_not_judged(
    kubeflow: Connection, told: str, cluster: Cluster
) -> None:
    cluster.secret("team-store", VALUES)
    assert kubeflow.prepare(told).notes == ()


def test_keys_that_the_store_refuses_are_told_where_it_can_be_asked(
    kubeflow: Connection, told: str, cluster: Cluster, embedded_store: ServerInfo
) -> None:
    found = embedded.environment(embedded_store)
    right = {**VALUES, **{key: found[key] for key in VALUES if key in found}, "SHIPWAY_STORE": "s3://shipway/x"}
    cluster.secret("team-store", right)
    assert kubeflow.prepare(told).notes == ()
    cluster.secret("team-store", {**right, "AWS_SECRET_ACCESS_KEY": "other"})
    with pytest.raises(InvalidSpec, match="the store refuses its AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"):
        kubeflow.prepare(told)
    cluster.secret("team-store", {**right, "SHIPWAY_STORE": "s3://no-such-bucket/x"})
    with pytest.raises(InvalidSpec, match=r"the store refuses its SHIPWAY_STORE .*no such bucket"):
        kubeflow.prepare(told)


@pytest.mark.parametrize("why", ["no kubeconfig", "forbidden", "another cluster", "nobody there"])
def test_what_may_not_be_looked_at_is_said_and_refuses_nothing(
    why: str, kubeflow: Connection, server: KfpServer, told: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no kubeconfig":
        monkeypatch.delenv("KUBECONFIG")
    elif why == "forbidden":
        cluster.hidden.append("/secrets/")
    elif why == "another cluster":
        cluster.kfp = ""
    else:
        path = cluster.kubeconfig()
        path.write_text(path.read_text().replace(cluster.url, "http://127.0.0.1:9"))
        monkeypatch.setattr("shipway.remote.secrets.PATIENCE_S", 0.1)
    (note,) = kubeflow.prepare(told).notes
    assert note.startswith("Secret team-store in kubeflow was not looked at: ")
    said = {"no kubeconfig": "there is no kubeconfig here", "forbidden": "403 secrets is forbidden",
            "another cluster": "may be another than that of", "nobody there": "nobody answered"}  # fmt: skip
    assert said[why] in note
    kubeflow.submit(told)
    assert server.sent("POST", "/runs") == 1


def test_a_kubeflow_that_was_reached_through_the_cluster_is_in_it(
    server: KfpServer, cluster: Cluster, told: str
) -> None:
    through = connect(patience=FAST)
    assert through.settings.url.startswith(cluster.url)
    with pytest.raises(InvalidSpec, match="there is none"):
        through.prepare(told)


def test_a_pipeline_without_secrets_asks_nobody(kubeflow: Connection, published: str, cluster: Cluster) -> None:
    cluster.hidden.append(".")
    assert kubeflow.prepare(published).notes == ()
