"""Storage and sources behind TLS: private authorities are honoured, and a certificate's error says certificate."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shipway.errors import InvalidData, InvalidSpec, ShipwayError, Untrusted
from shipway.storage import Store
from shipway.storage.buckets import ensure_bucket
from shipway.storage.server import ServerInfo
from shipway.storage.sources import fetch_source
from shipway.storage.trust import VARIABLES

DAY = datetime.timedelta(days=1)


class Authority:
    """A private certificate authority, and servers' certificates of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A company's authority")])
        made = self._signed(self.name, self.key, 10 * DAY, x509.BasicConstraints(ca=True, path_length=None))
        self.file = folder / "ca.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, host: str = "127.0.0.1", lasts: datetime.timedelta = 5 * DAY) -> ssl.SSLContext:
        """The TLS of a server with a certificate of ours for that address."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        both = self._signed(subject, key, lasts, names).public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / name).write_bytes(both)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / name)
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        lasts: datetime.timedelta,
        extension: x509.ExtensionType,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - 5 * DAY).not_valid_after(now + lasts).add_extension(extension, True)
        return builder.sign(self.key, hashes.SHA256())


@contextlib.contextmanager
def tls_before(target: tuple[str, int], context: ssl.SSLContext) -> Iterator[str]:
    """A TLS endpoint that passes on what it reads to a plain one; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(target) as server,
        ):
            while True:
                ready = [client] if client.pending() else select.select([client, server], [], [], 30)[0]
                for side, other in ((client, server), (server, client)):
                    if side in ready:
                        data = side.recv(1 << 16)
                        if not data:
                            return
                        other.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


Secured = Callable[..., str]


@pytest.fixture
def secured(
    authority: Authority, embedded_store: ServerInfo, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Secured]:
    """Puts TLS before the real store and points this process at it."""
    parts = urlsplit(embedded_store.endpoint)
    with contextlib.ExitStack() as stack:

        def start(**of_certificate: object) -> str:
            context = authority.server("store", **of_certificate)  # type: ignore[arg-type]
            address = stack.enter_context(tls_before((str(parts.hostname), int(parts.port or 0)), context))
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            return address

        yield start


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_store_of_a_private_authority_is_used_by_both_clients(
    secured: Secured, authority: Authority, store_uri: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    secured()
    monkeypatch.setenv(variable, str(authority.file))
    ensure_bucket("shipway")
    store = Store.open(store_uri)
    store.put("x", b"1")
    assert store.get("x") == b"1"


def test_a_folder_of_authorities_is_read_too(
    secured: Secured, authority: Authority, store_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secured()
    (tmp_path / "authorities").mkdir()
    (tmp_path / "authorities" / "ours.pem").write_text(f"# Société\n{authority.file.read_text()}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authorities"))
    Store.open(store_uri).put("x", b"1")


def ways(store_uri: str) -> list[Callable[[], object]]:
    """Each client's: obstore's single requests and listings, minio's."""
    return [
        lambda: Store.open(store_uri).put("x", b"1"),
        lambda: list(Store.open(store_uri).list()),
        lambda: Store.open(store_uri).head("x"),
        lambda: ensure_bucket("shipway"),
    ]


@pytest.mark.parametrize(
    ("certificate", "trusted", "words"),
    [
        ({}, False, r"the certificate of {address} is not trusted here.*AWS_CA_BUNDLE=/path/to/ca.pem"),
        ({"host": "127.0.0.9"}, True, r"the certificate of {address} is for another name"),
        ({"lasts": -DAY}, True, r"the certificate of {address} has expired"),
    ],
)
def test_a_certificate_that_is_refused_is_told_as_that(
    secured: Secured,
    authority: Authority,
    store_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    certificate: dict[str, object],
    trusted: bool,
    words: str,
) -> None:
    address = secured(**certificate)
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    for way in ways(store_uri):
        with pytest.raises(Untrusted, match=words.format(address=address)) as raised:
            way()
        assert "\n" not in str(raised.value)
        assert "running" not in str(raised.value)  # the store is not to blame
        assert raised.value.exit_code == 2


def test_tls_where_there_is_none_and_the_other_way_round_is_told(
    secured: Secured, embedded_store: ServerInfo, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", embedded_store.endpoint.replace("http://", "https://"))
    for way in ways(store_uri):
        with pytest.raises(Untrusted, match="does not speak TLS"):
            way()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        ("", "no certificate in it"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----\n", "no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a damaged certificate"),
    ],
)
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_bundle_that_is_none_is_one_line(
    secured: Secured,
    store_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    content: str | None,
    words: str,
) -> None:
    secured()
    if content is not None:
        (tmp_path / "bundle.pem").write_text(content)
    monkeypatch.setenv(variable, str(tmp_path / "bundle.pem"))
    for way in ways(store_uri):
        with pytest.raises(InvalidSpec, match=rf"^{variable}={tmp_path}/bundle.pem: .*{words}") as raised:
            way()
        assert "\n" not in str(raised.value)


def test_a_plain_store_does_not_mind_a_bundle(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    Store.open(store_uri).put("x", b"1")


@pytest.fixture
def site(authority: Authority) -> Iterator[str]:
    """A web server of the private authority with a file of rows."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "11")
            self.end_headers()
            self.wfile.write(b"text,label\n" if self.command == "GET" else b"")

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = authority.server("site").wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/rows.csv"
    server.shutdown()
    server.server_close()


def test_a_source_of_a_private_authority_is_fetched(
    site: str, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ShipwayError, match=r"the certificate of '.*/rows.csv' is not trusted here.*AWS_CA_BUNDLE="):
        fetch_source(site, tmp_path / "out")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with pytest.raises(InvalidSpec, match=r"^SSL_CERT_FILE=/nowhere: "):
        fetch_source(site, tmp_path / "out")
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    assert fetch_source(site, tmp_path / "out")[0].read_bytes() == b"text,label\n"


def test_a_sources_tls_is_told_where_it_lacks(embedded_store: ServerInfo, tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="does not speak TLS"):
        fetch_source(embedded_store.endpoint.replace("http://", "https://") + "/rows.csv", tmp_path)
    volume = f"http://127.0.0.1:{embedded_store.ports['volume']}/rows.csv"
    with pytest.raises(InvalidData, match="the server speaks TLS"):
        fetch_source(volume, tmp_path)
