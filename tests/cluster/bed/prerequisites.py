"""What the machine must bring for a bed. Only what is missing here lets a cluster test skip."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from tests.cluster.bed.errors import BedError

# A file of each Debian package that tells whether it is installed.
PACKAGES = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iptables": "/usr/sbin/iptables-restore",
    "iproute2": "/usr/sbin/ip",
    "debootstrap": "/usr/sbin/debootstrap",
    "buildah": "/usr/bin/buildah",
}
GO = (1, 24)
CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12}
MEMORY_GIB = 4
BUILD_DISK_GIB = 15


def missing(*, build: bool, folder: Path) -> list[str]:
    """One line for each thing that is missing.

    Args:
        build: Whether the programs are still to be built, which takes Go and disk.
        folder: Where they will be.
    """
    found = [] if platform.system() == "Linux" and platform.machine() == "x86_64" else ["Linux on x86_64"]
    if os.getuid() != 0:
        found.append("root: the bed makes network namespaces, mounts and iptables rules")
    else:
        effective = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
        bits = int(effective.group(1), 16) if effective else 0
        found += [name for name, bit in CAPABILITIES.items() if not bits >> bit & 1]
    found += [f"Debian package {name} ({path}); `make cluster` installs it" for name, path in _packages().items()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    if memory < MEMORY_GIB - 1:
        found.append(f"{MEMORY_GIB} GiB of memory; {memory} here")
    if build:
        found += _build_tools(folder)
    return found


def install_packages() -> None:
    """Installs the missing Debian packages; does nothing when there is no apt-get or no right to use it."""
    names = list(_packages())
    if not names or os.getuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"apt-get install {' '.join(names)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *names]):
        result = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BedError(f"apt-get {' '.join(command)}: {result.stderr.strip()[-1000:]}")


def _packages() -> dict[str, str]:
    return {name: path for name, path in PACKAGES.items() if not Path(path).exists()}


def _build_tools(folder: Path) -> list[str]:
    found = []
    text = (
        subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        if shutil.which("go")
        else ""
    )
    version = re.match(r"go(\d+)\.(\d+)", text)
    if not version or (int(version[1]), int(version[2])) < GO:
        found.append(f"Go {GO[0]}.{GO[1]} or newer; {text.strip() or 'none'} here")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free >> 30
    if free < BUILD_DISK_GIB:
        found.append(f"{BUILD_DISK_GIB} GiB of disk for the build at {existing}; {free} free")
    return found
