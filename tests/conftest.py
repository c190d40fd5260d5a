"""Fixtures that need real parts: one object store for the whole session, a fresh prefix for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypotheses

from shipway import modules, redaction
from shipway.recipes.base import ALLOWED
from shipway.remote import settings
from shipway.storage import embedded, processes
from shipway.storage.server import ServerInfo
from tests.fixtures import surroundings, tiny_model, toy, typed
from tests.fixtures.one_worker import pytest_collection_modifyitems as pytest_collection_modifyitems

# How long an example takes says how busy the machine is.
hypotheses.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypotheses.load_profile("unhurried")

STORE_HOME = "SHIPWAY_TEST_STORE_HOME"  # chosen by the first process, inherited by pytest-xdist's workers


def pytest_configure(config: pytest.Config) -> None:
    if not any("tests/kubeflow" in given for given in config.args):  # that suite is a user's: it has what a user has
        surroundings.forget()
    os.environ[ALLOWED] = toy.REFERENCE  # as a person does whose models are of a recipe of their own
    if not hasattr(config, "workerinput"):
        _reap_abandoned()
        ticks = processes.start_ticks(os.getpid())
        os.environ[STORE_HOME] = tempfile.mkdtemp(prefix=f"shipway-tests-{os.getpid()}-{ticks}-")


def pytest_unconfigure(config: pytest.Config) -> None:
    typed.end()
    home = None if hasattr(config, "workerinput") else os.environ.pop(STORE_HOME, None)
    if home:
        embedded.stop(home, grace_s=0)
        shutil.rmtree(home, ignore_errors=True)
        surroundings.clear()


def _reap_abandoned() -> None:
    """Stores of sessions that were killed before they could end theirs."""
    for home in Path(tempfile.gettempdir()).glob("shipway-tests-*"):
        parts = home.name.split("-")
        named = len(parts) == 5 and parts[2].isdigit() and parts[3].isdigit()
        if (
            named
            and home.is_dir()
            and home.stat().st_uid == os.getuid()
            and not processes.is_same(int(parts[2]), int(parts[3]))
        ):
            embedded.stop(home, grace_s=0)
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_code_of_a_run_stays() -> Iterator[None]:
    """What a run's own code leaves in this process goes with the test."""
    yield
    modules.use_code("")


@pytest.fixture(autouse=True)
def no_known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test gave for a secret is none here: it may be a word that messages hold."""
    monkeypatch.setattr(redaction, "_known", set())


@pytest.fixture(autouse=True)
def no_forwarded_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks around for a Kubeflow finds none of this machine's."""
    monkeypatch.setattr(settings, "FORWARDED", ())


@pytest.fixture(scope="session")
def embedded_store() -> ServerInfo:
    """A real SeaweedFS, one for all workers; the session's first process ends it."""
    return embedded.start(os.environ[STORE_HOME])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh SHIPWAY_HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("SHIPWAY_HOME", str(folder))
    return folder


@pytest.fixture
def store_uri(embedded_store: ServerInfo, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix in the real store; SHIPWAY_STORE, SHIPWAY_HOME and the AWS variables are set."""
    for name, value in embedded.environment(embedded_store).items():
        monkeypatch.setenv(name, value)
    uri = f"s3://shipway/t-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("SHIPWAY_STORE", uri)
    return uri


@pytest.fixture
def local_store_uri(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh folder as the store, for what needs no server."""
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{folder}")
    return f"file://{folder}"


@pytest.fixture(scope="session")
def tiny(embedded_store: ServerInfo) -> tiny_model.Tiny:
    """A small dataset and a model trained on it, in the session's store (tests/fixtures/tiny_model.py)."""
    return tiny_model.build(os.environ[STORE_HOME], embedded.environment(embedded_store))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many MiB; loudly skipped without the right to."""
    mounted = []

    def mount(mebibytes: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(folder)]
        if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("mounting a small disk needs root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
