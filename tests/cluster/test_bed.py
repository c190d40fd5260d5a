"""The test bed is what the tests on it take it for: a Kubernetes with working operators and an object store."""

from __future__ import annotations

import errno
import json
import socket
import time
import urllib.error
import urllib.request
from datetime import timedelta

import obstore
import pytest
from obstore.store import S3Store

from shipway.storage import Store
from tests.cluster import workloads
from tests.cluster.bed import Bed, settings
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures.manifests import wait_for

pytestmark = pytest.mark.alone

WAIT = "--timeout=180s"
RANKS = ["rank 0 of 2 on ring-worker-0", "rank 1 of 2 on ring-worker-1"]
FIND_THE_OTHERS = """
import json, os, socket, time
config = json.loads(os.environ["TF_CONFIG"])
print(json.dumps(config))
for hosts in config["cluster"].values():
    for host in hosts:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.gethostbyname(host.rsplit(":", 1)[0])
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
"""


def succeed(kubectl: Kubectl, namespace: str, what: str) -> None:
    kubectl("wait", "--for=condition=Succeeded", what, "-n", namespace, WAIT)


def logs_of_a_pod(kubectl: Kubectl, namespace: str, name: str, code: str) -> str:
    apply(kubectl, namespace, workloads.pod(name, code))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", namespace, WAIT)
    return kubectl("logs", name, "-n", namespace)


def ranks_of_an_mpijob(kubectl: Kubectl, namespace: str, version: str) -> list[str]:
    apply(kubectl, namespace, workloads.mpijob("ring", version))
    succeed(kubectl, namespace, "mpijob/ring")
    # A launcher that came before its workers could be reached is tried again: only the last one succeeded.
    pods = kubectl.get("pods", "-n", namespace, "--field-selector=status.phase=Succeeded")["items"]
    (launcher,) = [pod["metadata"]["name"] for pod in pods if "launcher" in pod["metadata"]["name"]]
    return sorted(line for line in kubectl("logs", launcher, "-n", namespace).splitlines() if line.startswith("rank"))


def apply(kubectl: Kubectl, namespace: str, manifest: workloads.Manifest) -> None:
    manifest["metadata"]["namespace"] = namespace
    kubectl.apply(document=manifest)


def test_the_api_answers_with_the_version_that_was_built(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("get", "--raw", "/version"))["gitVersion"] == f"v{settings.KUBERNETES}"


def test_a_pod_runs_and_its_logs_can_be_read(kubectl: Kubectl, namespace: str) -> None:
    assert logs_of_a_pod(kubectl, namespace, "hello", "import sys; print('hello from', sys.version_info[:2])") == (
        "hello from (3, 11)\n"
    )


def test_a_pod_that_takes_too_much_memory_is_seen_as_such(kubectl: Kubectl, namespace: str) -> None:
    limited = workloads.pod("greedy", "bytearray(300 << 20)", resources={"limits": {"memory": "64Mi"}})
    apply(kubectl, namespace, limited)
    kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/greedy", "-n", namespace, WAIT)
    (status,) = kubectl.get("pod", "greedy", "-n", namespace)["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"
    assert status["state"]["terminated"]["exitCode"] == 137


def test_a_pod_finds_the_api_server_under_its_service(kubectl: Kubectl, namespace: str) -> None:
    code = (
        "import ssl, urllib.request as r; folder = '/var/run/secrets/kubernetes.io/serviceaccount'; "
        "context = ssl.create_default_context(cafile=folder + '/ca.crt'); "
        "print(r.urlopen('https://kubernetes.default.svc/version', context=context, timeout=30).status)"
    )
    assert logs_of_a_pod(kubectl, namespace, "asks", code) == "200\n"


def test_a_tfjob_with_chief_and_two_workers_succeeds(kubectl: Kubectl, namespace: str) -> None:
    apply(kubectl, namespace, workloads.tfjob("toy", FIND_THE_OTHERS, workers=2))
    succeed(kubectl, namespace, "tfjob/toy")
    config = json.loads(kubectl("logs", "toy-worker-1", "-n", namespace))
    assert config["cluster"] == {
        "chief": [f"toy-chief-0.{namespace}.svc:2222"],
        "worker": [f"toy-worker-{index}.{namespace}.svc:2222" for index in range(2)],
    }
    assert config["task"] == {"type": "worker", "index": 1}


def test_the_webhook_refuses_a_tfjob_with_a_bad_name(kubectl: Kubectl, namespace: str) -> None:
    manifest = workloads.tfjob("1-starts-with-a-digit", "pass", workers=1)
    assert not kubectl.succeeds("create", "-n", namespace, "-f", "-", document=manifest)


def test_mpijobs_v1_reach_their_workers_through_kubectl(cluster: Bed, namespace: str) -> None:
    cluster.use_mpi("v1")
    assert ranks_of_an_mpijob(cluster.kubectl, namespace, "v1") == RANKS


def test_after_the_switch_mpijobs_v2beta1_reach_their_workers_through_ssh(cluster: Bed, namespace: str) -> None:
    cluster.use_mpi("v2beta1")
    assert cluster.mpi == "v2beta1"
    assert ranks_of_an_mpijob(cluster.kubectl, namespace, "v2beta1") == RANKS


def test_after_the_switch_back_mpijobs_v1_work_again(cluster: Bed, namespace: str) -> None:
    cluster.use_mpi("v2beta1")
    cluster.use_mpi("v1")
    assert cluster.mpi == "v1"
    assert ranks_of_an_mpijob(cluster.kubectl, namespace, "v1") == RANKS


def test_an_inference_service_becomes_ready_and_answers_through_its_service(kubectl: Kubectl, namespace: str) -> None:
    apply(kubectl, namespace, workloads.inference_service("sums"))
    kubectl("wait", "--for=condition=Ready", "inferenceservice/sums", "-n", namespace, WAIT)
    assert kubectl.succeeds("get", "deployment", "sums-predictor", "-n", namespace)  # Standard mode: no Knative
    address = kubectl.get("service", "sums-predictor", "-n", namespace)["spec"]["clusterIP"]
    body = json.dumps({"instances": [[1, 2], [3, 4]]}).encode()
    answer = wait_for(  # Ready may be said before kube-proxy knows the way
        lambda: posted(f"http://{address}/v1/models/sums:predict", body), "its service answers"
    )
    assert json.loads(answer) == {"predictions": [3, 7]}
    name = f"http://sums-predictor.{namespace}.svc.cluster.local/"
    code = f"import urllib.request; print(urllib.request.urlopen({name!r}, timeout=30).read().decode())"
    assert json.loads(logs_of_a_pod(kubectl, namespace, "client", code)) == {"status": "alive"}


def test_a_connection_to_a_service_that_is_none_is_refused(cluster: Bed, kubectl: Kubectl, namespace: str) -> None:
    """It must not leave the machine: whoever answers there would be taken for the service."""
    address = "10.96.255.254"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 80), timeout=30)
    code = f"import socket; print(socket.socket().connect_ex(({address!r}, 80)))"
    assert logs_of_a_pod(kubectl, namespace, "caller", code) == f"{errno.ECONNREFUSED}\n"


def posted(url: str, body: bytes) -> bytes | None:
    """The answer; None while nobody listens there."""
    try:
        with urllib.request.urlopen(url, data=body, timeout=30) as answer:
            return answer.read()
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError:
        return None


def test_a_thousand_fake_pods_become_ready(cluster: Bed, kubectl: Kubectl, namespace: str) -> None:
    cluster.add_fake_nodes(20)
    apply(kubectl, namespace, workloads.fake_deployment("fleet", 1000))
    kubectl("rollout", "status", "deployment/fleet", "-n", namespace, WAIT)
    assert kubectl.get("deployment", "fleet", "-n", namespace)["status"]["readyReplicas"] == 1000


def test_an_object_has_one_address_here_and_in_a_pod(
    cluster: Bed, kubectl: Kubectl, namespace: str, cluster_store_uri: str
) -> None:
    written = f"written at {time.time()}"
    Store.open(cluster_store_uri).put("note", written.encode())
    info = cluster.store
    client = S3Store(
        "shipway", endpoint=info.endpoint, region=info.region, access_key_id=info.access_key,
        secret_access_key=info.secret_key, client_options={"allow_http": True}, virtual_hosted_style_request=False,
    )  # fmt: skip
    path = f"{cluster_store_uri.removeprefix('s3://shipway/')}/note"
    address = obstore.sign(client, "GET", path, timedelta(minutes=10))
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.read().decode() == written
    code = f"import urllib.request; print(urllib.request.urlopen({address!r}, timeout=30).read().decode())"
    assert logs_of_a_pod(kubectl, namespace, "reader", code) == f"{written}\n"
