"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.bed import certificates, daemons, settings
from tests.cluster.bed.kubectl import Kubectl

START_S = 120.0
ETCD = f"http://127.0.0.1:{settings.ETCD_PORT}"
ETCD_PEER = f"http://127.0.0.1:{settings.ETCD_PEER_PORT}"


def up(binaries: Path) -> None:
    """Starts the control plane; returns when pods can be created."""
    state, kubectl = settings.state(), Kubectl(binaries)
    pki = state / "pki"
    certificates.create(pki)
    daemons.start("etcd", _etcd(binaries, state))
    start_api_server(binaries)
    # Before the RBAC bootstrap is done the controller manager exits: it may not read its own ConfigMap yet.
    daemons.wait("API server", lambda: kubectl.succeeds("get", "--raw", "/readyz"), START_S, "etcd", "kube-apiserver")
    daemons.start("kube-controller-manager", _controller_manager(binaries, pki))
    daemons.start("kube-scheduler", _scheduler(binaries))
    # Pods are refused before their namespace has its service account.
    daemons.wait(
        "control plane",
        lambda: kubectl.succeeds("get", "serviceaccount", "default", "-n", "default"),
        START_S, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
    )  # fmt: skip


def start_api_server(binaries: Path) -> None:
    """Starts the API server; returns at once."""
    daemons.start("kube-apiserver", _api_server(binaries, settings.state() / "pki"))


def add_alias() -> None:
    """The bed's address; may be there already."""
    subprocess.run(["ip", "address", "replace", f"{settings.HOST}/32", "dev", "lo"], check=True)


def remove_alias() -> None:
    """Takes the address away again."""
    subprocess.run(["ip", "address", "delete", f"{settings.HOST}/32", "dev", "lo"], capture_output=True, check=False)


def _etcd(binaries: Path, state: Path) -> list[str | Path]:
    return [
        binaries / "etcd",
        "--name=bed",
        f"--data-dir={state / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=bed={ETCD_PEER}",
        "--log-level=warn",
        "--unsafe-no-fsync",  # thrown away with the bed
    ]


def _api_server(binaries: Path, pki: Path) -> list[str | Path]:
    return [
        binaries / "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--bind-address={settings.HOST}",
        f"--advertise-address={settings.HOST}",
        f"--secure-port={settings.API_PORT}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={settings.SERVICE_CIDR}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    ]


def _controller_manager(binaries: Path, pki: Path) -> list[str | Path]:
    user = settings.kubeconfig("kube-controller-manager")
    return [
        binaries / "kube-controller-manager",
        "--bind-address=127.0.0.1",
        f"--kubeconfig={user}",
        f"--authentication-kubeconfig={user}",
        f"--authorization-kubeconfig={user}",
        # A quota on kinds that are newer than the controller's last look is counted at its next round: five minutes.
        "--resource-quota-sync-period=5s",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--service-cluster-ip-range={settings.SERVICE_CIDR}",
        "--kube-api-qps=200",  # a thousand fake pods at once
        "--kube-api-burst=400",
        "--profiling=false",
    ]


def _scheduler(binaries: Path) -> list[str | Path]:
    user = settings.kubeconfig("kube-scheduler")
    return [
        binaries / "kube-scheduler",
        "--bind-address=127.0.0.1",
        f"--kubeconfig={user}",
        f"--authentication-kubeconfig={user}",
        f"--authorization-kubeconfig={user}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]
