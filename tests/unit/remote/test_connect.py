"""Finding Kubeflow, being let in, and what is said when one is not."""

from __future__ import annotations

import base64
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from shipway.errors import InvalidSpec, KubeflowError, KubeflowUnavailable, NotAllowed
from shipway.remote import Connection, connect, kubeflow_run
from shipway.remote import settings as settings_module
from shipway.remote.settings import config_path, find
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import FAST


def jwt(**claims: Any) -> str:
    parts = ({"alg": "none"}, claims)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts), "x"])


def configure(**document: Any) -> None:
    config_path().parent.mkdir(parents=True, exist_ok=True)
    config_path().write_text(json.dumps(document))


def test_an_address_comes_from_the_call_the_environment_or_the_file(
    server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(url=server.url, experiment="mine")
    assert connect(patience=FAST).settings.source == str(config_path())
    assert connect(patience=FAST).settings.experiment == "mine"
    monkeypatch.setenv("SHIPWAY_KFP", f"{server.url}/")
    assert (connect(patience=FAST).settings.url, connect(patience=FAST).settings.source) == (server.url, "SHIPWAY_KFP")
    monkeypatch.setenv("SHIPWAY_KFP", "http://127.0.0.1:9")
    assert connect(server.url, patience=FAST).settings.source == "--kfp"


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:8888", "http://localhost:8888"),
        ("ml-pipeline.kubeflow.svc.cluster.local:8888", "http://ml-pipeline.kubeflow.svc.cluster.local:8888"),
        ("kubeflow.example.com/pipeline", "https://kubeflow.example.com/pipeline"),
        ("https://kubeflow.example.com/pipeline/#/runs", "https://kubeflow.example.com/pipeline"),
        ("http://h:1/apis/v2beta1", "http://h:1"),
    ],
)
def test_an_address_is_taken_as_people_type_it(typed: str, url: str) -> None:
    assert find(typed).url == url


def test_a_forwarded_port_is_found_only_if_it_is_kubeflow_that_answers(
    server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.url.rpartition(":")[2])
    monkeypatch.setattr(settings_module, "FORWARDED", ((9, ""), (port, "/elsewhere"), (port, "")))
    assert connect(patience=FAST).settings.source == f"localhost:{port}"
    monkeypatch.setattr(settings_module, "FORWARDED", ((port, "/elsewhere"),))
    with pytest.raises(KubeflowUnavailable, match=r"none was found.*no kubeconfig.*Name one by --kfp URL"):
        connect(patience=FAST)


def test_inside_a_cluster_the_service_is_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    (tmp_path / "namespace").write_text("ada\n")
    monkeypatch.setattr(settings_module, "ACCOUNT", tmp_path)
    found = find()
    assert found.url == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    assert (found.namespace, found.source) == ("ada", "the cluster of this pod")


def test_a_kubeconfig_leads_through_the_api_servers_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": "https://k8s.example.com"}}],
        "users": [{"name": "u", "user": {"token": "t0"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    found = find()
    assert found.url == "https://k8s.example.com/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
    assert found.credentials.headers() == {"authorization": "Bearer t0"}


@pytest.mark.parametrize("shows_certificate", [True, False])
def test_a_kubeconfigs_client_certificate_opens_the_door(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shows_certificate: bool
) -> None:
    """As kind, minikube and kubeadm write it: no token, a certificate and its key in the file."""
    from tests.cluster.bed.certificates import Authority

    authority = Authority(tmp_path / "pki")
    authority.server("api", ["localhost"], ["127.0.0.1"])
    certificate, key = (base64.b64encode(part).decode() for part in authority.client("ada", "ada", None))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pki/api.crt", tmp_path / "pki/api.key")
    tls.load_verify_locations(tmp_path / "pki/ca.crt")
    tls.verify_mode = ssl.CERT_REQUIRED
    with KfpServer(tls=tls) as server:
        cluster = {
            "server": server.url,
            "certificate-authority-data": base64.b64encode(authority.bundle).decode(),
        }
        user = {"client-certificate-data": certificate, "client-key-data": key} if shows_certificate else {}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }  # fmt: skip
        (tmp_path / "kubeconfig").write_text(json.dumps(document))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        if shows_certificate:
            assert connect(patience=FAST).runs() == []
        else:
            with pytest.raises(KubeflowError):
                connect(patience=FAST)


def test_a_token_from_anywhere_opens_the_door_and_a_rotated_file_goes_on_doing_so(
    server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.token = "s3cret"
    assert connect(server.url, token="s3cret", patience=FAST).runs() == []
    monkeypatch.setenv("SHIPWAY_KFP_TOKEN", "s3cret")
    assert connect(server.url, patience=FAST).runs() == []
    monkeypatch.delenv("SHIPWAY_KFP_TOKEN")
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    monkeypatch.setenv("SHIPWAY_KFP_TOKEN_FILE", str(file))
    kubeflow = connect(server.url, patience=FAST)
    server.token = "rotated"
    with pytest.raises(NotAllowed, match="401"):
        kubeflow.runs()
    file.write_text("rotated")
    assert kubeflow.runs() == []


def test_a_login_cookie_opens_the_door_and_without_it_the_login_page_is_named(
    server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cookie = "authservice_session=abc"
    with pytest.raises(
        NotAllowed, match=r"login page \(/dex/auth.*a request without token and cookie is not accepted.*COOKIE"
    ):
        connect(server.url, patience=FAST)
    assert connect(server.url, cookie="authservice_session=abc", patience=FAST).runs() == []
    folder = Path.home() / ".config" / "kfp"  # where kfp's own client remembers it
    folder.mkdir(parents=True)
    (folder / "context.json").write_text(json.dumps({"client_authentication_cookie": "authservice_session=abc"}))
    assert connect(server.url, patience=FAST).runs() == []


def test_an_expired_token_says_whose_it_is_since_when_and_how_to_renew_it(server: KfpServer) -> None:
    server.token = "another"
    old = jwt(sub="system:serviceaccount:ada:default-editor", exp=int(time.time()) - 1500)
    with pytest.raises(NotAllowed) as caught:
        connect(server.url, token=old, patience=FAST)
    said = str(caught.value)
    assert "401" in said
    assert "of system:serviceaccount:ada:default-editor which expired at" in said
    assert "(25 min ago)" in said
    assert "kubectl create token" in said
    assert old not in said


def test_a_namespace_of_somebody_else_says_who_asked_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    with KfpServer(multi_user=True) as server:
        server.forbidden = {"bob"}
        kubeflow = connect(server.url, namespace="bob", token=jwt(email="ada@example.com"), patience=FAST)
        with pytest.raises(NotAllowed, match=r"403, ada@example.com may not use runs in namespace bob: User 'ada"):
            kubeflow.runs()
        assert connect(server.url, namespace="ada", patience=FAST).runs() == []


def test_where_one_user_is_served_a_namespace_is_left_out(server: KfpServer) -> None:
    server.forbidden = {"ada"}
    assert connect(server.url, namespace="ada", patience=FAST).runs() == []


def test_an_address_with_something_else_behind_it_is_told_as_such(server: KfpServer) -> None:
    with pytest.raises(KubeflowError, match="something answers, but not the API of Kubeflow Pipelines"):
        connect(f"{server.url}/ui", patience=FAST)


def test_nobody_at_the_address_is_one_clear_line() -> None:
    with pytest.raises(KubeflowUnavailable, match=r"127.0.0.1:9: no answer.*port-forward"):
        connect("http://127.0.0.1:9", patience=FAST)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"token": "x"}, "a secret has no place here; name its file by token_file"),
        ({"ulr": "x"}, "unknown key 'ulr'.*did you mean 'url'"),
    ],
)
def test_a_wrong_configuration_is_refused(document: dict[str, Any], message: str) -> None:
    configure(**document)
    with pytest.raises(InvalidSpec, match=message):
        find("http://localhost:1")


def test_passing_errors_and_resets_are_waited_for_where_that_is_safe(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeflow_run, "POLL_S", 0.02)
    server.faults.add("GET", "/runs", status=503)
    server.faults.add("GET", "/runs", reset=True)
    server.faults.add("GET", "/runs", status=429)
    assert kubeflow.runs() == []
    run = kubeflow.submit(published)
    server.faults.add("POST", ":terminate", reset=True, after=True)
    assert run.cancel() == "Cancelled"


def test_errors_that_do_not_pass_end_with_the_servers_own_words(kubeflow: Connection, server: KfpServer) -> None:
    server.faults.add("GET", "/runs", status=500, said="dial tcp mysql:3306: connect: connection refused", times=99)
    with pytest.raises(KubeflowError, match="answered 500: dial tcp mysql:3306"):
        kubeflow.runs()
    assert server.sent("GET", "/runs") == FAST.attempts


def test_a_secret_never_shows(server: KfpServer) -> None:
    kubeflow = connect(server.url, token="s3cret", patience=FAST)
    assert "s3cret" not in repr(kubeflow.settings) + repr(kubeflow) + kubeflow._repr_html_()
