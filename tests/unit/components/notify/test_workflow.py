"""The last step asks its own Workflow how the run was ended: a Kubernetes API over HTTP answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shipway.components.notify.launch import own_workflow
from shipway.ending import stop_of
from shipway.executors.kubernetes import own_pod
from shipway.executors.kubernetes.own_pod import OwnPod
from tests.fixtures.kubernetes_http import Answering, serving, write_kubeconfig

OWNER = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "train-x7f", "uid": "u"}
PATH = "/apis/argoproj.io/v1alpha1/namespaces/ada/workflows/train-x7f"


class Kubernetes(Answering):
    forbids = False

    def do_GET(self) -> None:
        is_allowed = self.path == PATH and not self.forbids
        document: dict[str, Any] = {"spec": {"activeDeadlineSeconds": 0}} if is_allowed else {"message": "forbidden"}
        self.send(200 if is_allowed else 403, document)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kubernetes]]:
    handler: type[Kubernetes] = type("Handler", (Kubernetes,), {})
    with serving(handler) as url:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        monkeypatch.setattr(own_pod, "own_pod", lambda: OwnPod("ada", "run-1", "42", OWNER))
        yield handler


def test_a_cancelled_run_is_known_by_its_workflow(cluster: type[Kubernetes]) -> None:
    assert stop_of(own_workflow(), datetime.now(UTC)) == "cancelled"


def test_an_account_that_may_not_read_workflows_knows_nothing_and_fails_nothing(
    cluster: type[Kubernetes], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.forbids = True
    assert stop_of(own_workflow(), datetime.now(UTC)) == "unknown"
    assert "Workflow cannot be read" in capsys.readouterr().err
