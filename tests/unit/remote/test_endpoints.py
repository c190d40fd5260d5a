"""`shipway predict` on a cluster: the predictor's Service behind the Kubernetes API, and what stands in its way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.errors import NotFound, UserError
from shipway.remote.endpoints import address, by_hand, place_of
from shipway.runs.endpoint import Endpoint
from tests.fixtures.kfp_server import KfpServer
from tests.fixtures.kubernetes_http import Answering, serving, write_kubeconfig
from tests.unit.remote.test_commands import Typed

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/kubeflow/inferenceservices"
PREDICT = "/api/v1/namespaces/kubeflow/services/http:my-bot-predictor:80/proxy/v1/models/my-bot:predict"
READY = {"type": "Ready", "status": "True"}


class Cluster(Answering):
    """What the Kubernetes API answers: an endpoint that is ready, and its predictor behind the proxy."""

    condition: dict[str, str] = READY
    forbids = False
    spec: dict[str, Any] = {}  # noqa: RUF012
    answer: dict[str, Any] = {"label": "greet", "probability": 0.9}  # noqa: RUF012
    asked: list[Any]

    def do_GET(self) -> None:
        document = {"metadata": {"name": "my-bot"}, "status": {"conditions": [self.condition]}, "spec": self.spec}
        answers: dict[str, Any] = {SERVICES: {"items": [document]}, f"{SERVICES}/my-bot": document}
        self.send(200 if self.path in answers else 404, answers.get(self.path, {"message": "not found"}))

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.forbids:
            self.send(403, {"message": 'cannot create resource "services/proxy"'})
        elif self.path != PREDICT or not given["instances"][0]:
            self.send(400, {"error": "instances[0]: empty"})
        else:
            self.send(200, {"predictions": [self.answer for _ in given["instances"]]})


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Cluster]]:
    handler: type[Cluster] = type("Handler", (Cluster,), {})
    with serving(handler) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        yield handler


@pytest.mark.usefixtures("cluster")
def test_predict_asks_the_clusters_endpoint(server: KfpServer, capsys: pytest.CaptureFixture[str]) -> None:
    typed = Typed(capsys)
    assert "greet" in typed("predict", "my-bot", "hello", "--kfp", server.url)
    (found,) = typed.document("predict", "my-bot", "hello", "--kfp", server.url)
    assert found == {"instance": "hello", "label": "greet", "probability": 0.9}
    typed("predict", "my-bit", "hello", "--kfp", server.url, code=2)
    assert "there are my-bot (did you mean 'my-bot'?)" in typed.err


def test_the_answer_is_told_in_the_words_of_the_models_task_where_its_recipe_is_known(
    server: KfpServer, cluster: type[Cluster], capsys: pytest.CaptureFixture[str]
) -> None:
    env = [{"name": "SHIPWAY_RECIPES", "value": "intents"}]
    cluster.spec = {"predictor": {"containers": [{"name": "kserve-container", "env": env}]}}
    cluster.answer = {
        "label": None, "out_of_scope": True, "probability": 0.25, "probabilities": {"greet": 0.25, "leave": 0.2},
    }  # fmt: skip
    typed = Typed(capsys)
    told = typed("predict", "my-bot", "hello", "--kfp", server.url)
    assert "(none of these)" in told
    assert "leave 0.200" in told


def test_what_stands_in_the_way_is_said_with_the_command_that_goes_round_it(cluster: type[Cluster]) -> None:
    with pytest.raises(UserError, match=r"400 instances\[0\]: empty"):
        Endpoint("my-bot", address("my-bot", "kubeflow")).predict([""])
    cluster.forbids = True
    with pytest.raises(UserError, match="services/proxy in kubeflow, or kubectl -n kubeflow port-forward svc/my-bot"):
        Endpoint("my-bot", address("my-bot", "kubeflow")).predict(["hello"])
    cluster.condition = {"type": "Ready", "status": "False", "message": "1 of 2 pods"}
    with pytest.raises(UserError, match="not ready: 1 of 2 pods"):
        Endpoint("my-bot", address("my-bot", "kubeflow")).predict(["hello"])


def test_without_a_kubeconfig_the_command_to_type_elsewhere_is_named() -> None:
    with pytest.raises(NotFound, match="no kubeconfig here; where there is one: kubectl -n ada port-forward"):
        Endpoint("my-bot", address("my-bot", "ada")).predict(["hello"])


def test_an_address_inside_the_cluster_is_known() -> None:
    place = place_of("http://my-bot-predictor.ada.svc")
    assert place == ("my-bot", "ada")
    assert by_hand(*place) == "kubectl -n ada port-forward svc/my-bot-predictor 8080:80"
    assert place_of("http://127.0.0.1:8081") is None
