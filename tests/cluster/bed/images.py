"""The bed's own images, and how images get into its containerd."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.cluster.bed import archive, settings
from tests.cluster.bed.archive import Image
from tests.cluster.bed.errors import BedError

REGISTRY = "shipway.local"  # resolves nowhere: what is not loaded is an error, never a pull
PAUSE = f"{REGISTRY}/pause:1"
PYTHON = f"{REGISTRY}/python:3.11"
MPI = f"{REGISTRY}/mpi:4.1"
KUBECTL_DELIVERY = f"{REGISTRY}/kubectl-delivery:{settings.KUBERNETES}"
TRAINING_OPERATOR = f"{REGISTRY}/training-operator:{settings.TRAINING_OPERATOR}"
MPI_OPERATOR = f"{REGISTRY}/mpi-operator:{settings.MPI_OPERATOR}"
KSERVE = f"{REGISTRY}/kserve-controller:{settings.KSERVE}"

PACKAGES = ("python3", "openmpi-bin", "openssh-server")
UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
# A pod's name is no help at the first connection: host keys are new in each image, users come as any uid.
SSH = b"Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
SSHD = b"StrictModes no\nPidFile none\n"
START_SSHD = b"#!/bin/sh\nmkdir -p /run/sshd\nexec /usr/sbin/sshd -De\n"


def own(binaries: Path, root: Path) -> list[Image]:
    """The images that the bed makes by itself.

    Args:
        binaries: The folder of the Go programs.
        root: A Debian with Python, Open MPI and sshd.
    """
    ssh: dict[str, Path | bytes] = {
        "/etc/ssh/ssh_config.d/bed.conf": SSH,
        "/etc/ssh/sshd_config.d/bed.conf": SSHD,
        "/usr/local/bin/start-sshd": START_SSHD,
    }
    deliver: dict[str, Path | bytes] = {"/deliver": binaries / "deliver", "/bin/kubectl": binaries / "kubectl"}
    return [
        Image(PAUSE, files={"/pause": binaries / "pause"}, entrypoint=["/pause"]),
        Image(PYTHON, root, entrypoint=[]),
        Image(MPI, root, ssh),
        Image(KUBECTL_DELIVERY, files=deliver, entrypoint=["/deliver"]),
        _operator(TRAINING_OPERATOR, "/manager", binaries / "training-operator"),
        _operator(MPI_OPERATOR, "/opt/mpi-operator", binaries / "mpi-operator"),
        _operator(KSERVE, "/manager", binaries / "kserve-manager"),
    ]


def _operator(reference: str, inside: str, binary: Path) -> Image:
    # The operators' manifests ask for a user that is not root, by number.
    return Image(reference, files={inside: binary}, entrypoint=[inside], user="65532")


def make_root(root: Path, mirror: str) -> None:
    """A small Debian; 130 s."""
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        settings.DEBIAN,
        str(root),
        mirror,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BedError(f"{' '.join(command)}: {result.stdout.strip()[-2000:]}; see {root}/debootstrap/debootstrap.log")
    for name in UNNEEDED:
        subprocess.run(["rm", "-rf", str(root / name)], check=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def write_all(binaries: Path, root: Path, out: Path) -> None:
    """Writes the archives of all images that the bed makes."""
    layers = out / "layers"
    layers.mkdir(parents=True)
    for image in own(binaries, root):
        archive.write(image, out / f"{image.reference.split('/')[1].replace(':', '-')}.tar", layers)
    shutil.rmtree(layers)


def ctr(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`ctr` on the bed's containerd, in Kubernetes' namespace."""
    socket = settings.state() / "containerd" / "containerd.sock"
    command = ["ctr", "--address", str(socket), "--namespace", "k8s.io", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def runtime_answers() -> bool:
    """Whether containerd is up."""
    return ctr("version").returncode == 0


def load_all(folder: Path) -> None:
    """Every archive of a folder."""
    for path in sorted(folder.glob("*.tar")):
        load(path)


def load(path: Path) -> None:
    """Makes the images of a docker or OCI archive known to the node; at once when it was loaded before.

    containerd keeps its images while the bed is down: unpacking them is most of the time that a node takes.
    """
    record = settings.state() / "containerd" / "loaded.json"
    loaded = json.loads(record.read_text()) if record.exists() else {}
    status = path.stat()
    fingerprint = [status.st_size, status.st_mtime_ns]
    if loaded.get(str(path)) == fingerprint:
        return
    result = ctr("images", "import", str(path))
    if result.returncode != 0:
        raise BedError(f"{path}: containerd does not take it: {result.stderr.strip()[-500:]}")
    record.write_text(json.dumps({**loaded, str(path): fingerprint}))


def tag(source: str, target: str) -> None:
    """Gives an image that the node has a second name, in place of an earlier holder."""
    result = ctr("images", "tag", "--force", source, target)
    if result.returncode != 0:
        raise BedError(f"{source}: {result.stderr.strip()}")
