"""The one real node: containerd, kubelet, kube-proxy and CoreDNS as processes of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cluster.bed import daemons, images, machine, settings
from tests.cluster.bed.kubectl import Kubectl

START_S = 120.0
CNI_PLUGINS = Path("/usr/lib/cni")


def start_runtime(archives: Path) -> None:
    """containerd, with the bed's images; needs no control plane."""
    state = settings.state()
    for name in ("containerd", "cni/net.d"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "containerd" / "config.toml").write_text(_containerd(state))
    _write_json(state / "cni" / "net.d" / "10-bed.conflist", _network(state))
    daemons.start("containerd", ["containerd", "--config", state / "containerd" / "config.toml"])
    daemons.wait("containerd", images.runtime_answers, START_S, "containerd")
    images.load_all(archives)


def up(binaries: Path) -> None:
    """The rest of the node; returns when it is Ready."""
    state, kubectl = settings.state(), Kubectl(binaries)
    (state / "kubelet").mkdir(exist_ok=True)
    _write_json(state / "kubelet" / "config.json", _kubelet(state))
    (state / "Corefile").write_text(COREFILE.format(host=settings.HOST, kubeconfig=settings.kubeconfig()))
    _start_kubelet(binaries, state)
    daemons.start("coredns", [binaries / "coredns", "-conf", state / "Corefile", "-dns.port", "53"])
    machine.refuse_unknown_services()
    daemons.start("kube-proxy", _kube_proxy(binaries))
    daemons.wait(
        "node",
        lambda: kubectl.succeeds("wait", "--for=condition=Ready", f"node/{settings.NODE}", "--timeout=2s"),
        START_S, "containerd", "kubelet", "coredns", "kube-proxy",
    )  # fmt: skip


def _start_kubelet(binaries: Path, state: Path) -> None:
    daemons.start(
        "kubelet",
        [
            binaries / "kubelet",
            f"--config={state / 'kubelet' / 'config.json'}",
            f"--kubeconfig={settings.kubeconfig('kubelet')}",
            f"--root-dir={state / 'kubelet'}",
            f"--cert-dir={state / 'kubelet' / 'pki'}",
            f"--hostname-override={settings.NODE}",
            f"--node-ip={settings.HOST}",
        ],
    )


def _kube_proxy(binaries: Path) -> list[str | Path]:
    return [
        binaries / "kube-proxy",
        f"--kubeconfig={settings.kubeconfig('kube-proxy')}",
        f"--hostname-override={settings.NODE}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={settings.POD_CIDR}",
        "--oom-score-adj=0",  # less needs CAP_SYS_RESOURCE
        # At the default of a second, what has just become Ready refuses its first connections.
        "--iptables-min-sync-period=100ms",
        "--iptables-localhost-nodeports=false",  # or it sets the sysctl route_localnet
        "--healthz-bind-address=127.0.0.1:10256",
        "--metrics-bind-address=127.0.0.1:10249",
        # The host's connection tracking stays as it is.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def _containerd(state: Path) -> str:
    unwanted = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
    plugins = json.dumps([*unwanted, "io.containerd.internal.v1.opt"])
    runc = shutil.which("runc")
    return f"""version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
disabled_plugins = {plugins}
[grpc]
  address = "{state}/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  restrict_oom_score_adj = true  # lowering the score needs CAP_SYS_RESOURCE
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{state}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "{runc}"
        Root = "{state}/runc"  # under /run its records of containers would outlive a crash
"""


def _network(state: Path) -> dict[str, object]:
    """`ptp`, not `bridge`: the host routes every pod, so Services work without br_netfilter."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{state}/cni/ipam",
        "ranges": [[{"subnet": settings.POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugin = {"type": "ptp", "mtu": 1400, "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": settings.NETWORK, "plugins": [plugin]}


def _kubelet(state: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.HOST,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{state}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{state}/pki/kubelet.crt",
        "tlsPrivateKeyFile": f"{state}/pki/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{state}/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # less needs CAP_SYS_RESOURCE
        "clusterDNS": [settings.HOST],
        "clusterDomain": "cluster.local",
        "resolvConf": "",  # none of the host's search domains
        "podLogsDir": f"{state}/pod-logs",
        "volumePluginDir": f"{state}/kubelet/volume-plugins",
        "maxPods": 200,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images come from no registry: deleted ones would be gone
        "imageGCLowThresholdPercent": 99,
        "makeIPTablesUtilChains": False,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "1s",  # or the training operator waits half a minute for the Secret that it has just filled
    }


# Two blocks: in one, `template` would run before `kubernetes` and answer everything. Foreign names get NXDOMAIN at
# once; the C library takes a refusal for "try again" and each look-up would last seconds.
COREFILE = """cluster.local:53 {{
  bind {host}
  errors
  kubernetes cluster.local {{
    kubeconfig {kubeconfig} bed
    ttl 1
  }}
}}
.:53 {{
  bind {host}
  template ANY ANY . {{
    rcode NXDOMAIN
  }}
}}
"""


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1))
