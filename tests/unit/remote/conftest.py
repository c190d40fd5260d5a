"""A stand-in for Kubeflow's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.cli.main import main
from shipway.remote import Connection, connect
from shipway.remote.http import RequestPatience
from tests.fixtures.kfp_server import KfpServer

FAST = RequestPatience(attempts=4, first_s=0.01, cap_s=0.02, connect_s=2.0, read_s=5.0)
LAUNCHER, TENSORFLOW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
DIGESTS = {"launcher": LAUNCHER, "tensorflow": TENSORFLOW}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own: files in it configure a connection."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer) -> Connection:
    return connect(server.url, patience=FAST)


@pytest.fixture
def published(kubeflow: Connection) -> str:
    """A small pipeline in the stand-in; its name."""
    return kubeflow.publish(SMALL, version="1.0", pin=False).pipeline


@pytest.fixture
def handled(kubeflow: Connection) -> str:
    """A pipeline with an exit handler and a loop in the stand-in; its name."""
    return kubeflow.publish(HANDLED, version="1.0", pin=False).pipeline


class Typed:
    """One command line and what came of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        self.out, self.err = self._capsys.readouterr()
        assert end.value.code == code, self.err + self.out
        return self.out

    def document(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


HANDLED = f"{Path(__file__).with_name('pipelines.py')}:handled"
SMALL = f"{Path(__file__).with_name('pipelines.py')}:small"
