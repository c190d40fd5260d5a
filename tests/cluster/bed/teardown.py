"""Takes a bed apart, whatever became of it, and looks whether anything is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from shipway.storage import embedded, processes
from tests.cluster.bed import control_plane, daemons, images, machine, settings
from tests.cluster.bed.errors import BedError

GONE_S = 20.0
SOCKETS = ("/run/containerd/s", "/var/lib/kubelet/device-plugins")
KEPT = ("containerd",)  # holds the unpacked images, most of the time that a node takes to start


def down(*, purge: bool = False) -> None:
    """Ends the bed; does nothing when there is none.

    Args:
        purge: The unpacked images go too.

    Raises:
        BedError: something of it is still there; says what.
    """
    state = settings.state()
    if state.is_dir():
        before = _before(state)
        _stop(state)
        _clean(state, before)
        _check(before)
        for path in state.iterdir():
            if path.name not in KEPT:
                _remove(path)
    if purge:
        shutil.rmtree(state, ignore_errors=True)


def _before(state: Path) -> machine.Facts:
    """The machine as `up` found it; as it is now when `up` did not come that far."""
    try:
        facts: machine.Facts = json.loads((state / "before.json").read_text())
    except (FileNotFoundError, ValueError):
        return machine.read()
    return facts


def _stop(state: Path) -> None:
    """Ends all processes: the kubelet first, which would start again what is ended; containerd last."""
    for name in ("kwok", "kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager"):
        daemons.stop(name)
    _end_pods()
    if daemons.is_running("containerd"):
        _forget_containers()
    elif "containerd" in daemons.recorded():  # it died, and its database may hold containers that nobody can end
        shutil.rmtree(state / "containerd", ignore_errors=True)
    for name in [name for name in daemons.recorded() if name != "containerd"]:
        daemons.stop(name)
    daemons.stop("containerd")
    for pid, ticks, _ in daemons.marked():  # the containers' shims, and what a killed `up` could not record
        processes.end(pid, ticks, 0.0)
    embedded.stop(state / "store")


def _end_pods() -> None:
    deadline = time.monotonic() + GONE_S
    while found := machine.pod_processes():
        for pid, ticks in found:
            processes.end(pid, ticks, 0.0)
        if time.monotonic() > deadline:
            raise BedError(f"processes of pods do not end: {sorted(pid for pid, _ in found)}")


def _forget_containers() -> None:
    """Containers have ended; containerd takes their records and their file systems away."""
    for kind in ("tasks", "containers"):
        names = images.ctr(kind, "list", "-q").stdout.split()
        if names:
            images.ctr(kind, "delete", *(["--force"] if kind == "tasks" else []), *names)


def _clean(state: Path, before: machine.Facts) -> None:
    for result in machine.CNI_RESULTS.glob(f"{settings.NETWORK}-*"):
        container = result.name.removeprefix(f"{settings.NETWORK}-").removesuffix("-eth0")
        (machine.CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        result.unlink(missing_ok=True)
    for point in reversed(machine.mounts()):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    _remove_cgroups()
    machine.remove_rules()
    control_plane.remove_alias()
    machine.set_sysctls(dict(line.split(" = ", 1) for line in before["sysctls"]))
    _remove_new_files(before["folders"])
    shutil.rmtree(state / "containerd" / "state", ignore_errors=True)


def _remove_cgroups() -> None:
    deadline = time.monotonic() + GONE_S
    while tops := machine.cgroups():
        for top in tops:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # a process that was killed has not gone yet
                    os.rmdir(folder)
        if time.monotonic() > deadline:
            raise BedError(f"control groups do not go: {', '.join(map(str, tops))}")


def _remove_new_files(before: list[str]) -> None:
    """What the programs left in folders whose place cannot be chosen; a stranger's files have been there before."""
    for name in machine.FOLDERS:
        top = Path(name)
        for path in sorted([top, *top.rglob("*")], key=lambda each: len(each.parts), reverse=True):
            if str(path) not in before and _is_ours(path):
                with contextlib.suppress(OSError):
                    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _is_ours(path: Path) -> bool:
    """Folders (only empty ones go), sockets of dead shims and of the kubelet, and links to our pods' logs."""
    if path.is_symlink():
        return str(path.readlink()).startswith(str(settings.state()))
    return path.is_dir() or (path.is_socket() and str(path.parent) in SOCKETS)


def _check(before: machine.Facts) -> None:
    deadline = time.monotonic() + GONE_S
    while left := machine.left_behind(before, machine.read()):  # the kernel takes interfaces away in its own time
        if time.monotonic() > deadline:
            raise BedError("\n".join(["left behind:", *left]))
        time.sleep(0.2)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
