"""A real cluster for the tests below: one bed for the session, one namespace for each test.

A bed that ran before is adopted and left running; one that the session brought up goes with it. Tests marked `alone`
change the bed for everybody, its API server, its MPI operator or its life: `make cluster-test` runs them one by one
after the others, which wait more than they work and run side by side.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from shipway.executors.kubernetes import watching
from shipway.executors.kubernetes.accounts import PREDICTOR, REPLICA
from tests.cluster import bed as beds
from tests.cluster import overlays, sharing
from tests.cluster.bed import Bed, prerequisites, settings
from tests.cluster.bed.bed import locked, unused
from tests.cluster.bed.build import places
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.installed import Installed
from tests.fixtures.kubernetes_rig import KubernetesRig
from tests.fixtures.manifests import wait_for
from tools.images.archives import archive

REQUIRED = "SHIPWAY_REQUIRE_CLUSTER"  # set, a missing prerequisite fails instead of skipping
SHIPPED = "SHIPWAY_BED_IMAGES"  # set, Shipway's own images are built where they are not, which takes minutes
LAST = "test_lifecycle.py"  # takes the bed down
SPREAD = ("test_executor_conformance.py", "test_executor_survives.py")  # other files' tests share what they install
_WAS_UP = pytest.StashKey[bool]()


def pytest_sessionstart(session: pytest.Session) -> None:
    if _is_first(session):
        sharing.hold()  # waits while another session takes the bed down and up again
        session.config.stash[_WAS_UP] = _runs()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _is_first(session):
        return
    sharing.release()
    if not session.config.stash[_WAS_UP] and settings.state().is_dir():
        with contextlib.suppress(beds.BedError), unused(), locked():  # another session that came meanwhile keeps it
            beds.down()


def _is_first(session: pytest.Session) -> bool:
    """The process that answers for the bed: none of xdist's workers, and one that could have a bed at all."""
    return not hasattr(session.config, "workerinput") and os.getuid() == 0


def _runs() -> bool:
    try:
        return beds.find() is not None
    except beds.BedError:  # another checkout's, which `cluster` will tell
        return True


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name == LAST)
    for item in items:
        if "shipped" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shipped)
        if item.path.name not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(scope="session")
def cluster() -> Bed:
    """The running bed. Skips, naming them, when prerequisites are missing; whatever else goes wrong fails."""
    built = places()
    missing = prerequisites.missing(build=not built.complete, folder=settings.cache())
    if missing:
        reason = "cluster test bed: missing " + "; ".join(missing)
        pytest.fail(reason) if os.environ.get(REQUIRED) else pytest.skip(reason)
    if not built.complete:
        pytest.fail("the test bed's programs are not built yet, which takes 20 minutes: `make cluster`")
    return beds.up()


@pytest.fixture(scope="module")
def schema(kubectl: Kubectl) -> Iterator[None]:
    """Experiments are served while the tests of a module last, which are to be marked `alone`."""
    kubectl.apply(document=yaml.safe_load((Path(__file__).parent / "katib" / "experiments.yaml").read_text()))
    wait_for(lambda: kubectl.succeeds("get", "experiments.kubeflow.org", "-n", "default"), "the kind is served")
    yield
    kubectl("delete", "crd", "experiments.kubeflow.org", "--wait")


@pytest.fixture(scope="session")
def shipped(cluster: Bed) -> Callable[..., None]:
    """Gives the node Shipway's images by their short names, as this tree builds them; only `make images-test` does."""
    if not os.environ.get(SHIPPED):
        pytest.skip("runs with Shipway's own images: `make images-test` builds them")

    def load(*names: str) -> None:
        for name in names:
            cluster.load(archive(name))

    return load


@pytest.fixture(scope="session")
def kubeconfig(cluster: Bed) -> Path:
    """The kubeconfig of the cluster's admin."""
    return cluster.kubeconfig


@pytest.fixture(scope="session")
def kubectl(cluster: Bed) -> Kubectl:
    """kubectl as the cluster's admin: `kubectl("get", "pods")`, `kubectl.get(...)`, `kubectl.apply(document=...)`."""
    return cluster.kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A fresh namespace with the accounts of what the executor launches, gone after the test with all that is in it."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    for account in (REPLICA, PREDICTOR):
        kubectl("create", "serviceaccount", account, "-n", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def kube_rig(
    kubeconfig: Path, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KubernetesRig]:
    """The kubernetes executor in a fresh namespace, as the admin and without an overlay.

    What it promises holds wherever it may create jobs; their replicas are a line of Python and take nothing from a
    Secret. What it needs of an overlay is tried in test_manifests_permissions.py.
    """
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    made = KubernetesRig(namespace, f"file://{tmp_path}/store", tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def cluster_store_uri(cluster: Bed, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix in the bed's object store, with the variables set that lead there, here as in pods."""
    for name, value in cluster.store_environment.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://shipway/t-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("SHIPWAY_STORE", uri)
    return uri


@pytest.fixture(scope="module")
def installed(cluster: Bed, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A namespace with the overlay `dev` of manifests/, for the tests of one module."""
    name = f"m-{uuid.uuid4().hex[:10]}"
    uri = f"s3://shipway/{name}"
    keys = overlays.stored(cluster.store_environment, uri)
    folder = tmp_path_factory.mktemp("overlay")
    overlays.install(kubectl, folder, "dev", name, keys)
    yield Installed(kubectl, name, uri, overlays.built(kubectl, folder))
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def surroundings(cluster: Bed, cluster_store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is somebody else, here as the admin, and is refused at once."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setattr(watching, "_feeds", {})
    monkeypatch.setattr("shipway.executors.kubernetes.executor.REFUSED_S", 0.5)
