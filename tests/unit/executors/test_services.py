"""Endpoints on a cluster, asked of a small API over HTTP: what is told of one that does not go, or was replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client

from shipway import labels
from shipway.context import Context
from shipway.errors import ShipwayError
from shipway.executors import Handle
from shipway.executors.base import REPLACED
from shipway.executors.kubernetes import services
from shipway.executors.kubernetes.api import Api
from tests.fixtures.kubernetes_http import Answering, serving

HANDLE = Handle("InferenceService", "bot", "ml", "hash-of-ours")


class Cluster(Answering):
    """One InferenceService, whose pods never go."""

    present: dict[str, Any] | None = None

    def do_GET(self) -> None:
        if urlsplit(self.path).path.endswith("/pods"):
            self.send(200, {"items": [{"metadata": {"name": "bot-predictor-1"}}]})
        elif self.present is None:
            self.send(404, {"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"})
        else:
            self.send(200, self.present)

    def do_DELETE(self) -> None:
        type(self).present = None
        self.send(200, {})


@pytest.fixture
def api() -> Iterator[Api]:
    Cluster.present = {
        "metadata": {
            "name": "bot", "namespace": "ml", "labels": {labels.MANAGED_BY: "shipway"},
            "annotations": {labels.SPEC_HASH: "hash-of-another-deployment"},
        }
    }  # fmt: skip
    with serving(Cluster) as url:
        configuration = client.Configuration()
        configuration.host = url
        yield Api(lambda: client.ApiClient(configuration))


def test_an_endpoint_whose_pods_do_not_go_is_not_called_deleted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "GONE_S", 0.2)
    monkeypatch.setattr(services, "POLL_S", 0.05)
    with pytest.raises(ShipwayError, match=r"endpoint bot: deleted, but its pods are still there .* kubectl -n ml get"):
        services.cancel(api, HANDLE)


def test_an_endpoint_that_another_deployment_was_given_is_told_as_replaced(api: Api) -> None:
    outcome = services.follow(api, Context.current(), HANDLE, deadline_s=5)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.reason == REPLACED
