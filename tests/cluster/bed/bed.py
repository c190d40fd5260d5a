"""The running bed: brought up, adopted, asked."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shipway.storage import embedded
from shipway.storage.server import ServerInfo, read_info
from tests.cluster.bed import build, control_plane, daemons, images, machine, node, prerequisites, settings
from tests.cluster.bed.build import Built
from tests.cluster.bed.errors import BedError, MissingPrerequisite
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.bed.operators import Mpi, Operators
from tests.cluster.bed.teardown import down

BUCKET = "shipway"


class Bed:
    """A running bed.

    Attributes:
        kubeconfig: Of its admin.
        kubectl: Its kubectl; `bed.kubectl("get", "pods")`.
    """

    def __init__(self, built: Built) -> None:
        self.kubeconfig = settings.kubeconfig()
        self.kubectl = Kubectl(built.binaries)
        self._operators = Operators(built)

    @property
    def mpi(self) -> Mpi | None:
        """Which MPIJob it serves: `v1` (training operator), `v2beta1` (MPI operator), or none."""
        return self._operators.mpi()

    def use_mpi(self, version: Mpi) -> None:
        """Serves MPIJobs of this version; those of the other one are lost. 5-10 s."""
        with locked():
            self._operators.use_mpi(version)

    def add_fake_nodes(self, count: int) -> None:
        """Nodes played by KWOK, label `type: kwok`; pods need the toleration `kwok.x-k8s.io/node`."""
        with locked():
            self._operators.add_fake_nodes(count)

    def load(self, archive: Path) -> None:
        """Makes the images of a docker or OCI archive known to the node."""
        with locked():
            images.load(archive)

    def tag(self, source: str, target: str) -> None:
        """Gives an image of the node a second name."""
        images.tag(source, target)

    @property
    def store(self) -> ServerInfo:
        """The object store; URIs under `s3://shipway/` and the endpoint are the same here and in pods."""
        info = read_info(settings.state() / "store")
        if info is None:
            raise BedError("the bed's object store is not there; `make cluster-down cluster`")
        return info

    @property
    def store_environment(self) -> dict[str, str]:
        """The variables with which a process here, or a pod, finds the object store."""
        return embedded.environment(self.store)

    def describe(self) -> dict[str, Any]:
        """What runs, and how much memory each part takes."""
        facts: dict[str, Any] = json.loads((settings.state() / "up.json").read_text())
        memory = daemons.memory_mib()
        return {**facts, "kubeconfig": str(self.kubeconfig), "mpi": self.mpi, "store": self.store.endpoint,
                "memory_mib": memory, "memory_mib_total": sum(memory.values())}  # fmt: skip


def find() -> Bed | None:
    """The bed that runs; None when there is none, or a broken one.

    Raises:
        BedError: it was built from another checkout's tools.
    """
    built = build.places()
    try:
        facts = json.loads((settings.state() / "up.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not all(daemons.is_running(name) for name in facts["processes"]):
        return None
    if facts["tools"] != str(built.binaries):
        raise BedError(f"a bed of other versions runs ({facts['tools']}); end it with `make cluster-down`")
    return Bed(built)


def up() -> Bed:
    """The bed that runs; brought up when there is none. A broken one is taken apart first.

    Raises:
        MissingPrerequisite: the machine lacks something; names all of it.
        BedError: it does not come up; names the log.
    """
    built = build.places()
    missing = prerequisites.missing(build=not built.complete, folder=settings.cache())
    if missing:
        raise MissingPrerequisite("cluster test bed: missing " + "; ".join(missing))
    build.build()
    with locked():
        found = find()
        if found is None:
            down()
            _refuse_a_stranger()
            _start(built)
            found = Bed(built)
        return found


def _start(built: Built) -> None:
    began = time.monotonic()
    state = settings.state()
    state.mkdir(parents=True, exist_ok=True)
    (state / "before.json").write_text(json.dumps(machine.read()))
    ready_s: dict[str, float] = {}

    def ready(name: str, work: Callable[[], object]) -> None:
        work()
        ready_s[name] = round(time.monotonic() - began, 1)

    operators = Operators(built)
    control_plane.add_alias()
    with ThreadPoolExecutor() as pool:
        store = pool.submit(ready, "store", lambda: embedded.start(state / "store", BUCKET, settings.HOST))
        runtime = pool.submit(ready, "images", lambda: node.start_runtime(built.archives))
        ready("control plane", lambda: control_plane.up(built.binaries))
        training = pool.submit(ready, "training operator applied", operators.install_training)
        kserve = pool.submit(ready, "kserve applied", operators.install_kserve)
        runtime.result()
        ready("node", lambda: node.up(built.binaries))
        for job in (training, kserve, store):
            job.result()
    ready("training operator", operators.wait_training)
    ready("kserve", operators.wait_kserve)
    facts = {"tools": str(built.binaries), "processes": daemons.recorded(), "ready_s": ready_s}
    partial = state / "up.json.partial"
    partial.write_text(json.dumps(facts))
    os.replace(partial, state / "up.json")


def _refuse_a_stranger() -> None:
    """The bed takes Kubernetes' chains and control groups away when it goes: they must be its own."""
    if machine.is_kubernetes_there():
        raise BedError("another Kubernetes runs on this machine (its iptables chains or control groups are there)")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One change at a time, and one bed on a machine."""
    with _flock(settings.LOCK, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """While this lasts, no `down` but a forced one takes the bed away."""
    with _flock(settings.USERS, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def unused(wait_s: float = 0.0) -> Iterator[None]:
    """While this lasts, nobody else uses the bed, and who wants to waits.

    Args:
        wait_s: How long to wait for those who use it.

    Raises:
        BedError: somebody still does.
    """
    deadline = time.monotonic() + wait_s
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(_flock(settings.USERS, fcntl.LOCK_EX | fcntl.LOCK_NB))
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise BedError("a test session uses the bed; wait for its end, or `down --force`") from error
                time.sleep(0.2)
        yield


@contextlib.contextmanager
def _flock(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
