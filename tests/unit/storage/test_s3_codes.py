"""Refusals of object storage, each told as what it is: a clock, a token, a key, a right, a full disk, a region."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shipway.errors import AccessDenied, InvalidData, InvalidSpec, ShipwayError, StorageError, StorageUnavailable
from shipway.storage import Store
from shipway.storage.buckets import ensure_bucket
from shipway.storage.sources import fetch_source, fingerprint_source


class Refusing:
    """An endpoint that answers everything with one error of S3's, HEAD without a body as HTTP has it."""

    def __init__(self) -> None:
        self.status, self.code, self.message, self.behind_s = 403, "AccessDenied", "Access Denied", 0.0
        self.methods: set[str] = set()
        refusing = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # an answer is sent in two pieces

            def log_message(self, *_arguments: object) -> None:
                pass

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate((timestamp or time.time()) - refusing.behind_s, usegmt=True)

            def do_GET(self) -> None:
                refusing.methods.add(self.command)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                text = (
                    f"<?xml version='1.0'?><Error><Code>{refusing.code}</Code><Message>{refusing.message}</Message>"
                    "<ServerTime>2026-01-02T03:04:05Z</ServerTime></Error>"
                ).encode()
                self.send_response(refusing.status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Refusing]:
    made = Refusing()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.close()


WAYS: dict[str, Callable[[], object]] = {
    "get": lambda: Store.open("s3://shipway/x").get("k"),
    "put": lambda: Store.open("s3://shipway/x").put("k", b"1"),
    "list": lambda: list(Store.open("s3://shipway/x").list()),
    "delete": lambda: Store.open("s3://shipway/x").delete("k"),
    "create": lambda: Store.open("s3://shipway/x").put("k", b"1", create=True),
}

CASES: list[tuple[int, str, str, type[ShipwayError], str, str]] = [
    (403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.",
     AccessDenied, "this machine's clock .*RequestTimeTooSkewed.*credentials are not at fault", "refuses the cred"),
    (400, "ExpiredToken", "The provided token has expired.", AccessDenied,
     r"session token has expired; get new ones .*AWS_SESSION_TOKEN.*ExpiredToken", "check AWS_"),
    (403, "ExpiredToken", "The provided token has expired.", AccessDenied, "session token has expired", "check AWS_"),
    (400, "InvalidToken", "The provided token is malformed.", AccessDenied, "does not take the session token", "check"),
    (403, "AccessDenied", "Request has expired", AccessDenied, "the request has expired", "refuses the credentials"),
    (403, "InvalidAccessKeyId", "No such key.", AccessDenied, "does not know the access key.*AWS_ACCESS_KEY_ID", "clo"),
    (403, "SignatureDoesNotMatch", "x", AccessDenied, "the secret key does not fit the access key", "clock"),
    (403, "AccessDenied", "Access Denied", AccessDenied, "credentials, or does not let them", "clock"),
    (400, "AuthorizationHeaderMalformed", "the region 'a' is wrong", AccessDenied, "set AWS_REGION", "credentials"),
    (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.", StorageError,
     "has no space left; free some disk", "again and again"),
    (500, "InternalError", "write /data/1.dat: no space left on device", StorageError, "has no space left", "answers"),
    (503, "SlowDown", "Please reduce your request rate.", StorageUnavailable, "is overloaded; try again", "running"),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=[f"{case[1]}-{case[0]}" for case in CASES])
def test_a_refusal_is_told_as_what_it_is(
    refusing: Refusing, way: str, case: tuple[int, str, str, type[ShipwayError], str, str]
) -> None:
    refusing.status, refusing.code, refusing.message, kind, words, never = case
    if refusing.status >= 500 and way in ("delete", "create", "list"):
        pytest.skip("the same path as get and put, and each takes its retries")
    with pytest.raises(kind, match=words) as raised:
        WAYS[way]()
    text = str(raised.value)
    assert never not in text
    assert refusing.endpoint in text
    assert "\n" not in text
    assert "a-secret-key" not in text
    assert "a-session-token" not in text


def test_an_answer_without_a_body_is_told_by_the_clocks(refusing: Refusing) -> None:
    """HEAD has no body, so no code: the endpoint's own date tells a wrong clock from wrong keys."""
    store = Store.open("s3://shipway/x")
    with pytest.raises(AccessDenied, match="refuses the credentials; check AWS_ACCESS_KEY_ID"):
        store.head("k")
    refusing.behind_s = 3600
    with pytest.raises(AccessDenied, match="this machine's clock is 60 minutes ahead of its own; set this machine's"):
        store.head("k")
    refusing.behind_s = -7200
    with pytest.raises(AccessDenied, match="this machine's clock is 120 minutes behind its own"):
        store.head("k")
    with pytest.raises(AccessDenied, match="this machine's clock is 120 minutes behind its own"):
        ensure_bucket("shipway")


# -- addresses of data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "words"),
    [
        (403, "AccessDenied", "Request has expired", "the signed address, or the token in it, has expired"),
        (400, "ExpiredToken", "The provided token has expired.", "the signed address, or the token in it, has expired"),
        (403, "RequestTimeTooSkewed", "x", "RequestTimeTooSkewed.*clock"),
        (403, "AccessDenied", "Access Denied", r"answers 403 .*it wants a login"),
    ],
)
def test_a_signed_address_that_has_expired_is_told(
    refusing: Refusing, tmp_path: Path, status: int, code: str, message: str, words: str
) -> None:
    refusing.status, refusing.code, refusing.message = status, code, message
    url = f"{refusing.endpoint}/bucket/rows.csv?X-Amz-Signature=5ec2e7&X-Amz-Date=20260101T000000Z"
    for ask in (fingerprint_source, lambda uri: fetch_source(uri, tmp_path)):
        with pytest.raises(InvalidData, match=words) as raised:
            ask(url)
        assert "5ec2e7" not in str(raised.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:hunter2@127.0.0.1:9/rows.csv",
        "https://hunter2@example.com/rows.csv",
        "http://user:hun/ter2@127.0.0.1/rows.csv",
        "http://user:hun#ter2@127.0.0.1/rows.csv",
        "http://user:hun?ter2@127.0.0.1/rows.csv",
        "http://user:hun@ter2@127.0.0.1/rows.csv",
        "http://user:@127.0.0.1/rows.csv",
        "ftp://user:hunter2@host/rows.csv",
        "s3://AKIA:hunter2@bucket/rows.csv",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(uri: str, tmp_path: Path) -> None:
    for ask in (fingerprint_source, lambda given: fetch_source(given, tmp_path)):
        with pytest.raises(InvalidData, match=r"has a user or a password in it.*give the file") as raised:
            ask(uri)
        assert all(part not in str(raised.value) for part in ("hun", "ter2", "user:", "AKIA"))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/a@b.csv", "http://127.0.0.1:9/rows.csv?mail=a@b"])
def test_an_at_sign_elsewhere_is_no_password(uri: str) -> None:
    with pytest.raises(StorageUnavailable, match="nobody answers"):
        fingerprint_source(uri)


def test_a_password_in_other_addresses_is_not_repeated(refusing: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSpec) as raised:
        Store.open("s3://AKIA:hunter2@bucket/x")
    assert "hunter2" not in str(raised.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://AKIA:hunter2@127.0.0.1:8333")
    with pytest.raises(InvalidSpec, match="belong in AWS_ACCESS_KEY_ID") as raised:
        Store.open("s3://bucket/x")
    assert "hunter2" not in str(raised.value)
