"""The connection to an API server: what it bears, tried against a real HTTP server that misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes import client

from shipway.errors import UserError
from shipway.executors.kubernetes.api import Api, ApiError
from shipway.executors.kubernetes.kinds import PODS
from shipway.executors.kubernetes.watching import Change, Trouble, changes_of

Answer = Callable[[BaseHTTPRequestHandler], None]
QUOTA = {"kind": "Status", "code": 409, "reason": "Conflict", "message": "the object has been modified",
         "details": {"name": "jobs", "kind": "resourcequotas"}}  # fmt: skip


class Server:
    """Gives out prepared answers in turn; the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.tokens: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # an answer is sent in two pieces

            def _next(self) -> None:
                server.tokens.append(self.headers.get("Authorization", ""))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                answer(self)

            do_GET = do_POST = _next

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def client(self, token: str = "first") -> Any:
        """A client as kubeconfig would give it."""
        configuration = client.Configuration()
        configuration.host = f"http://127.0.0.1:{self.http.server_address[1]}"
        configuration.api_key = {"authorization": f"Bearer {token}"}
        return client.ApiClient(configuration)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def says(document: dict[str, Any], status: int = 200, *, cut: int = 0) -> Answer:
    """A whole answer, or one whose connection is closed `cut` bytes before its end."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = json.dumps(document).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) - cut])
        if cut:
            request.close_connection = True

    return answer


def streams(*changes: dict[str, Any], cut: int = 0) -> Answer:
    """A watch that tells of changes and ends, perhaps within a line."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = b"".join(json.dumps(each).encode() + b"\n" for each in changes)
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(body[: len(body) - cut])
        request.close_connection = True

    return answer


def test_an_answer_that_breaks_off_is_asked_for_again(server: Server) -> None:
    server.answers = [says({"kind": "PodList", "items": []}, cut=5), says({"kind": "PodList", "items": []})]
    assert Api(server.client).get("/api/v1/pods")["kind"] == "PodList"


def test_creations_that_a_quota_cannot_count_yet_are_sent_again_and_other_conflicts_are_not(server: Server) -> None:
    uncounted = {"code": 403, "reason": "Forbidden", "message": "forbidden: status unknown for quota: q, resources: x"}
    server.answers = [says(QUOTA, 409), says(uncounted, 403), says({"made": True}, 201)]
    assert Api(server.client).post("/apis/x", {})["made"]
    server.answers = [says({**QUOTA, "details": {"kind": "tfjobs"}}, 409)]
    with pytest.raises(ApiError, match="409 Conflict"):
        Api(server.client).post("/apis/x", {})


def test_a_refused_token_is_read_anew_for_a_watch_too(server: Server) -> None:
    tokens = iter(["old", "new"])
    change = {"type": "ADDED", "object": {"metadata": {"name": "p", "resourceVersion": "1"}}}
    server.answers = [says({"code": 401, "reason": "Unauthorized"}, 401), streams(change)]
    assert [each["type"] for each in Api(lambda: server.client(next(tokens))).watch("/api/v1/pods", {})] == ["ADDED"]
    assert server.tokens == ["Bearer old", "Bearer new"]


def test_a_connection_has_a_patience_of_its_own(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(UserError, match=r"nobody answered for 0\.5 s"):
        Api(server.client, patience_s=0.5).get("/version")


def test_a_watch_whose_list_cannot_be_read_is_taken_up_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipway.executors.kubernetes.watching.LISTS_APART_S", 0.1)
    pod = {"metadata": {"name": "j-0", "uid": "u", "resourceVersion": "2", "labels": {}}, "status": {}}
    change = {"type": "ADDED", "object": pod}
    whole = says({"items": [], "metadata": {"resourceVersion": "1"}})
    server.answers = [says({"items": [{}], "metadata": {}}), whole, streams(change, change, cut=4), streams()]
    troubles = 0
    with changes_of(Api(server.client), PODS, "broken", "j-0") as told:  # one kind only: pods are asked for once
        while not isinstance(found := told.get(timeout=20), Change):
            troubles += isinstance(found, Trouble)
    assert found.object["metadata"]["name"] == "j-0"
    assert troubles >= 1
