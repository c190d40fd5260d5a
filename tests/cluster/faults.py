"""What a test does to the bed, or to who talks to it."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from shipway.executors.kubernetes.api import Api, connected
from tests.cluster.bed import control_plane, daemons
from tests.cluster.bed.build import places
from tests.cluster.bed.kubectl import Kubectl


def stop_api_server() -> None:
    """Ends the API server; what runs on the node goes on."""
    daemons.stop("kube-apiserver")


def start_api_server(kubectl: Kubectl) -> None:
    """Starts it again and waits until it answers."""
    control_plane.start_api_server(places().binaries)
    daemons.wait("API server", lambda: kubectl.succeeds("get", "--raw", "/readyz"), 60.0, "kube-apiserver")


def compact(revision: int) -> None:
    """Has etcd forget what was before a revision: a watch from there is answered by 410."""
    body = json.dumps({"revision": str(revision), "physical": True}).encode()
    with urllib.request.urlopen(f"{control_plane.ETCD}/v3/kv/compaction", data=body, timeout=30) as response:
        response.read()


@dataclass(frozen=True)
class Account:
    """A service account with a token that can be taken back."""

    kubectl: Kubectl
    namespace: str
    name: str
    token: str

    def revoke(self) -> None:
        """From now on the token is refused."""
        self.kubectl("delete", "secret", self.name, "-n", self.namespace)

    def client(self) -> Any:
        """A client that shows the token instead of the admin's certificate."""
        return client_with(self.token)


def account(kubectl: Kubectl, namespace: str, name: str) -> Account:
    """A fresh service account that may read the namespace's pods; no overlay has one whose token can be taken back."""
    kubectl("create", "serviceaccount", name, "-n", namespace)
    kubectl(
        "create", "rolebinding", name, "--clusterrole=view", f"--serviceaccount={namespace}:{name}", "-n", namespace
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"kubernetes.io/service-account.name": name}},
    }
    kubectl.apply(document=secret)
    return Account(kubectl, namespace, name, _token(namespace, name))


def client_with(token: str) -> Any:
    """A client of the bed's API server that shows a token."""
    from kubernetes import client

    configuration = connected().configuration
    configuration.cert_file = configuration.key_file = None
    configuration.api_key = {"authorization": f"Bearer {token}"}
    return client.ApiClient(configuration)


def _token(namespace: str, name: str) -> str:
    import base64

    from tests.fixtures.manifests import wait_for

    path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
    data = wait_for(lambda: (Api().get(path).get("data") or {}).get("token"), "the token is written")
    return base64.b64decode(data).decode()
