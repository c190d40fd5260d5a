"""What a bed changes on its machine, read before it comes and after it went."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from shipway.storage import processes
from tests.cluster.bed import counters, daemons, settings

CGROUPS = Path("/sys/fs/cgroup")
PODS = "kubepods"
CHAIN = "KUBE-"
CNI_RESULTS = Path("/var/lib/cni/results")
COUNTERS = ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts")  # kube-proxy's
# Folders that containerd, CNI and the kubelet make wherever they run. Not /etc/cni: the bed's network is described in
# its own folder, and buildah and podman leave a lock in /etc/cni on any day that somebody builds an image.
FOLDERS = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/log/containers", "/var/log/pods", "/var/lib/kubelet",
           "/opt/cni", "/opt/containerd", "/usr/libexec/kubernetes")  # fmt: skip
# The kubelet, the CNI plugin and kube-proxy write these.
SYSCTLS = ("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops",
           "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes", "net.ipv4.ip_forward",
           "net.ipv4.conf.all.route_localnet", "net.ipv4.conf.all.forwarding", "net.ipv4.conf.default.forwarding",
           "net.ipv6.conf.all.forwarding", "net.netfilter.nf_conntrack_max",
           "net.netfilter.nf_conntrack_tcp_timeout_established", "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
           "net.netfilter.nf_conntrack_tcp_be_liberal")  # fmt: skip

Facts = dict[str, list[str]]


def read() -> Facts:
    """Everything that a bed may leave behind, each a sorted list of lines."""
    facts = {
        "processes": [command for _, _, command in daemons.marked()],
        "mounts": mounts(),
        "interfaces": _interfaces(),
        "iptables": [f"{family} {table} {line}" for family, table in _tables() for line in rules(family, table)],
        "counters": counters.names(),
        "cgroups": [str(path) for path in cgroups()],
        "sysctls": [f"{name} = {value}" for name, value in sysctls().items()],
        "folders": [str(path) for name in FOLDERS for path in [Path(name), *Path(name).rglob("*")] if path.exists()],
    }
    return {name: sorted(lines) for name, lines in facts.items()}


def left_behind(before: Facts, after: Facts) -> list[str]:
    """What is there after and was not before, and sysctls that changed.

    A sysctl that appears with its kernel module, as connection tracking's do, is none of it.
    """
    known = {line.split(" = ")[0] for line in before["sysctls"]}
    return [
        f"{name}: {line}"
        for name, lines in after.items()
        for line in lines
        if line not in before[name] and (name != "sysctls" or line.split(" = ")[0] in known)
    ]


def mounts() -> list[str]:
    """Mount points below the bed's folder, innermost last."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    below = [point.encode().decode("unicode_escape") for point in points]
    return [point for point in below if point.startswith(f"{settings.state()}/")]


def cgroups() -> list[Path]:
    """The tops of the pods' control groups, one for each controller, or one with cgroup v2."""
    return [path for path in (CGROUPS / PODS, *CGROUPS.glob(f"*/{PODS}")) if path.is_dir()]


def pod_processes() -> list[tuple[int, int]]:
    """(pid, start ticks) of what runs in pods."""
    files = [file for top in cgroups() for file in top.rglob("cgroup.procs")]
    pids = {int(pid) for file in files for pid in _read(file).split()}
    found = [(pid, processes.start_ticks(pid)) for pid in pids]
    return [(pid, ticks) for pid, ticks in found if ticks is not None]


def sysctls() -> dict[str, str]:
    """The values in force."""
    values = {name: _read(Path("/proc/sys") / name.replace(".", "/")).strip() for name in SYSCTLS}
    return {name: value for name, value in values.items() if value}


def set_sysctls(wanted: dict[str, str]) -> None:
    """Puts back what differs."""
    for name, value in sysctls().items():
        if name in wanted and wanted[name] != value:
            (Path("/proc/sys") / name.replace(".", "/")).write_text(wanted[name])


def rules(family: str, table: str) -> list[str]:
    """The rules and the chains of one's own in a table of `iptables` or `ip6tables`, without counters."""
    result = subprocess.run([f"{family}-save", "-t", table], capture_output=True, text=True, check=False)
    lines = [re.sub(r" \[\d+:\d+\]$", "", line) for line in result.stdout.splitlines()]
    return [line for line in lines if line.startswith("-A") or (line[:1] == ":" and line.endswith(" -"))]


def is_kubernetes_there() -> bool:
    """Whether chains or control groups of a Kubernetes exist."""
    lines = [line for family, table in _tables() for line in rules(family, table)]
    return bool(cgroups()) or any(line.startswith(f":{CHAIN}") for line in lines)


def refuse_unknown_services() -> None:
    """A connection to a service that kube-proxy does not know (yet) is refused, as by a service without endpoints.

    Without these rules it leaves the machine, and whoever answers there answers: a 404 of a gateway, for instance.
    `remove_rules` takes the chain away with Kubernetes' own.
    """
    chain = f"{CHAIN}NO-SERVICE"
    rules = [f"-A {chain} -p tcp -j REJECT --reject-with tcp-reset", f"-A {chain} -j REJECT"]
    nobodys = (settings.SERVICE_CIDR, settings.FAKE_POD_CIDR)
    jumps = [f"-I {name} -d {cidr} -j {chain}" for name in ("OUTPUT", "FORWARD") for cidr in nobodys]
    text = "\n".join(["*filter", f":{chain} - [0:0]", *rules, *jumps, "COMMIT", ""])
    subprocess.run(["iptables-restore", "--noflush"], input=text, text=True, check=True)


def remove_rules() -> None:
    """Takes Kubernetes' chains, the jumps to them and its counters away: each table in one step."""
    for family, table in _tables():
        lines = rules(family, table)
        chains = [line.split()[0][1:] for line in lines if line.startswith(f":{CHAIN}")]
        jumps = [line for line in lines if f" -j {CHAIN}" in line and not line.startswith(f"-A {CHAIN}")]
        if chains:
            steps = [f"-D {jump[3:]}" for jump in jumps]
            steps += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
            text = "\n".join([f"*{table}", *steps, "COMMIT", ""])
            subprocess.run([f"{family}-restore", "--noflush"], input=text, text=True, check=True)
    for name in COUNTERS:
        if name in counters.names():
            counters.delete(name)


def _tables() -> list[tuple[str, str]]:
    """kube-proxy writes its chains for IPv6 too, though the bed has none."""
    return [(family, table) for family in ("iptables", "ip6tables") for table in ("raw", "mangle", "nat", "filter")]


def _interfaces() -> list[str]:
    output = subprocess.run(["ip", "-json", "address"], capture_output=True, text=True, check=True).stdout
    found = json.loads(output)
    addresses = [f"{each['ifname']} {address['local']}" for each in found for address in each["addr_info"]]
    return [*(each["ifname"] for each in found), *addresses]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
