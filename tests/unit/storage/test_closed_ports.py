"""The embedded server's ports seen by another user of this machine, and by a page in a browser: nothing is open.

Each way in is tried twice: as a stranger, who must get nowhere, and with the server's own certificate, which shows that
the way would lead somewhere.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shipway.storage import Store, embedded, processes, weed
from shipway.storage.server import ServerInfo
from tests.unit.storage.test_embedded import listeners, use

NOBODY = 65534
SECRET = b"nobody else may see this"
KEYS = "security.toml", "server.json", "s3.json", weed.CERTIFICATE, weed.KEY

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    """A running server of its own, which holds one object."""
    home = tmp_path_factory.mktemp("closed")
    info = embedded.start(home)
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(info, monkeypatch).put("kept", SECRET)
        yield info
        assert use(info, monkeypatch).get("kept") == SECRET  # whatever the tests tried
    embedded.stop(home)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`weed` where another user may run it."""
    shared = Path(f"/tmp/{tmp_path_factory.mktemp('weed').name}-{os.getpid()}")
    shared.mkdir()
    shared.chmod(0o755)
    shutil.copy(weed._binary(), shared / "weed")
    (shared / "weed").chmod(0o755)
    yield shared / "weed"
    shutil.rmtree(shared)


REQUESTS = [
    ("GET", "/"), ("GET", "/ui/index.html"), ("GET", "/status"), ("GET", "/cluster/status"), ("GET", "/dir/status"),
    ("GET", "/dir/assign"), ("POST", "/dir/assign"), ("GET", "/dir/lookup?volumeId=1"), ("GET", "/vol/status"),
    ("GET", "/vol/grow?count=1"), ("GET", "/vol/vacuum"), ("POST", "/submit"), ("GET", "/collection/info"),
    ("GET", "/col/delete?collection=shipway"), ("POST", "/col/delete?collection=shipway"),
    ("GET", "/metrics"), ("GET", "/debug/pprof/"), ("GET", "/stats/counter"), ("GET", "/stats/disk"),
    ("GET", "/stats/memory"), ("GET", "/1,01637037d6"), ("PUT", "/1,01637037d6"), ("DELETE", "/1,01637037d6"),
    ("GET", "/buckets/?pretty=y"), ("GET", "/buckets/shipway/tests/kept"), ("PUT", "/buckets/shipway/made"),
    ("POST", "/buckets/shipway/made"), ("DELETE", "/buckets/shipway?recursive=true"), ("GET", "/shipway/tests/kept"),
    ("GET", "/shipway?list-type=2"), ("PUT", "/shipway/made"), ("POST", "/shipway?delete"),
    ("DELETE", "/shipway/tests/kept"), ("DELETE", "/shipway"), ("PUT", "/mine"),
    ("POST", "/?Action=AssumeRole"), ("POST", "/?Action=CreateUser&UserName=x"),
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {},
    {"Origin": "http://evil.example", "Content-Type": "text/plain"},  # what a page may send without asking first
    {"Host": "evil.example", "Origin": "http://evil.example"},  # a name that was bound to this address afterwards
    {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
     "Signature=00", "x-amz-date": "20260101T000000Z", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
    {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
]  # fmt: skip

TRY = """
import http.client, json, os, socket, ssl, sys
uid, ports, requests, headers = json.load(sys.stdin)
"x".encode("idna")  # loaded while we may read it
trusting = ssl._create_unverified_context()
os.setgroups([]), os.setgid(uid), os.setuid(uid)
answers = []
for port in ports:
    for tls in (False, True):
        for method, path in requests:
            for each in headers:
                try:
                    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                    if tls:
                        wire = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)
                    wire.request(method, path, body=b"x" if method in ("PUT", "POST") else None, headers=each)
                    answer = wire.getresponse()
                    answers.append([port, tls, method, path, answer.status, answer.read(9999).decode(errors="replace")])
                except (OSError, http.client.HTTPException):
                    answers.append([port, tls, method, path, 0, ""])
                finally:
                    wire.close()
json.dump(answers, sys.stdout)
"""


def run_as(uid: int, script: str, given: object) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(given), capture_output=True, text=True, timeout=300, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@as_root
def test_no_port_answers_another_user_or_a_page(server: ServerInfo) -> None:
    ports = sorted(listeners(server.pid))
    assert ports == sorted(server.ports.values())  # none that we do not know of: metrics, profiling
    answers = run_as(NOBODY, TRY, [NOBODY, ports, REQUESTS, HEADERS])
    assert {answer[0] for answer in answers} == set(ports)  # each was reached
    for port, tls, method, path, status, text in answers:
        where = f"{method} {path} at {port} ({'TLS' if tls else 'plain'}): {status} {str(text)[:200]}"
        assert SECRET.decode() not in str(text), where
        if port == server.ports["s3"] and not tls:
            assert status in (400, 403, 405, 501) or (path == "/status" and text == ""), where
        else:
            assert status in (0, 400), where  # 400: "client sent an HTTP request to an HTTPS server"
            assert status == 0 or "HTTPS server" in str(text), where


def test_with_the_servers_certificate_the_ports_would_answer(server: ServerInfo) -> None:
    folder = Path(server.folder)
    context = ssl.create_default_context(cafile=str(folder / weed.CERTIFICATE))
    context.load_cert_chain(folder / weed.CERTIFICATE, folder / weed.KEY)
    for name, expected in (("master", 200), ("volume", 200), ("filer", 404)):  # the filer's HTTP is off besides
        wire = http.client.HTTPSConnection("127.0.0.1", server.ports[name], timeout=10, context=context)
        wire.request("GET", "/healthz")
        assert wire.getresponse().status == expected, name
        wire.close()


def commands(server: ServerInfo, out: Path) -> dict[str, tuple[list[str], str]]:
    """Ways over gRPC: name -> (arguments of `weed`, what it reads)."""
    ports = server.ports
    master, filer = (f"127.0.0.1:{ports[name]}.{ports[f'{name}.grpc']}" for name in ("master", "filer"))
    shell = ["shell", f"-master={master}", f"-filer={filer}"]
    (out / "made").write_bytes(b"x")
    return {
        "list": (shell, "volume.list\nexit\n"),
        "tree": (shell, "fs.ls -l /buckets/shipway/tests\nexit\n"),
        "read": (shell, "fs.cat /buckets/shipway/tests/kept\nexit\n"),
        "move": (shell, "lock\nfs.mv /buckets/shipway/tests/kept /buckets/shipway/moved\nunlock\nexit\n"),
        "delete": (shell, "lock\ns3.bucket.delete -name shipway\ncollection.delete -collection shipway -force\nexit\n"),
        "user": (shell, "s3.configure -user thief -access_key thief -secret_key thief -actions Admin -apply\nexit\n"),
        "backup": (["backup", f"-master={master}", "-volumeId=1", f"-dir={out}"], ""),
        "copy": (["filer.copy", str(out / "made"), f"http://{filer}/buckets/shipway/"], ""),
        "cat": (["filer.cat", f"http://{filer}/buckets/shipway/tests/kept"], ""),
        "meta": (["filer.meta.tail", f"-filer={filer}", "-timeAgo=1h"], ""),
        "upload": (["upload", f"-master={master}", str(out / "made")], ""),
    }


def run_weed(binary: Path, cwd: Path, uid: int, arguments: list[str], text: str) -> str:
    """What it prints within a few seconds: refused, it tries for ever."""
    with subprocess.Popen(
        [str(binary), "-logtostderr=true", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, cwd=cwd, user=uid, group=uid, extra_groups=[], env={"HOME": "/", "PATH": "/bin"},
    ) as process:  # fmt: skip
        try:
            said = process.communicate(text.encode(), timeout=8)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[0]
    return said.decode(errors="replace")


@as_root
def test_no_tool_without_the_key_reads_or_changes_anything_over_grpc(
    server: ServerInfo, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = binary.parent / "outside"
    outside.mkdir()
    os.chown(outside, NOBODY, NOBODY)
    store = use(server, monkeypatch)
    before = [(info.key, info.etag) for info in Store.open("s3://shipway").list()]
    ways = commands(server, outside)
    with ThreadPoolExecutor(len(ways)) as pool:
        heard = dict(
            zip(ways, pool.map(lambda way: run_weed(binary, outside, NOBODY, *way), ways.values()), strict=True)
        )
    for name, said in heard.items():
        told = [line for line in said.splitlines() if "/tests/kept" not in line]  # what was asked for is repeated
        assert not re.search(r"kept|nobody else|DataCenter|free:|signature", "\n".join(told)), (name, said)
    assert all(path.stat().st_size <= 8 for path in outside.glob("*.dat"))  # an empty volume's first bytes
    assert [(info.key, info.etag) for info in Store.open("s3://shipway").list()] == before
    assert store.get("kept") == SECRET
    assert "kept" in run_weed(binary, Path(server.folder), 0, *ways["tree"])  # in the folder of the key it gets in


@as_root
def test_keys_and_sockets_are_this_users_alone(server: ServerInfo) -> None:
    folder = Path(server.folder)
    for path in [*(folder / name for name in KEYS), *folder.glob("*.sock")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    ours = [f"/tmp/{name}" for name in sockets_of(server.ports)]
    assert len(ours) == 4
    given = [
        NOBODY,
        [str(folder / name) for name in KEYS],
        [*ours, str(folder / "s3.sock"), str(folder / "filer.sock")],
    ]
    assert run_as(NOBODY, OPEN, given) == []


OPEN = """
import json, os, socket, sys
uid, files, sockets = json.load(sys.stdin)
os.setgroups([]), os.setgid(uid), os.setuid(uid)
opened = []
for path in files:
    try:
        opened.append(["file", path, len(open(path).read())])
    except PermissionError:
        pass
for path in sockets:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        opened.append(["socket", path])
    except PermissionError:
        pass
json.dump(opened, sys.stdout)
"""


def sockets_of(ports: dict[str, int]) -> list[str]:
    """What is left in /tmp of a server with these ports."""
    return [path.name for port in ports.values() for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]


def test_no_socket_is_left_behind(tmp_path: Path) -> None:
    first = embedded.start(tmp_path)
    try:
        assert len(sockets_of(first.ports)) == 4
        processes.end(first.pid, first.start_ticks, 0)  # killed, and its ports taken before it is started again
        with socket.create_server(("127.0.0.1", first.ports["volume"])):
            second = embedded.start(tmp_path)
        assert second.ports != first.ports
        assert sockets_of(first.ports) == []
        (tmp_path / "store" / "server.json").unlink()  # a record that was lost
        third = embedded.start(tmp_path)
        assert sockets_of(second.ports) == []
        processes.end(third.pid, third.start_ticks, 0)
        embedded.stop(tmp_path)
        assert sockets_of(third.ports) == []
    finally:
        embedded.stop(tmp_path)


@as_root
def test_a_strangers_socket_in_our_place_is_gone_round(tmp_path: Path) -> None:
    first = embedded.start(tmp_path)
    embedded.stop(tmp_path)
    squat = f"/tmp/seaweedfs-filer-grpc-{first.ports['filer.grpc']}.sock"
    with socket.socket(socket.AF_UNIX) as rival:
        rival.bind(squat)
        os.chown(squat, NOBODY, NOBODY)
        rival.listen()
        try:
            second = embedded.start(tmp_path)
            assert second.ports["filer.grpc"] != first.ports["filer.grpc"]
        finally:
            embedded.stop(tmp_path)
            os.unlink(squat)


def test_another_address_is_offered_s3_and_nothing_open(tmp_path: Path) -> None:
    info = embedded.start(tmp_path, host="127.0.0.2")
    try:
        found = {
            (address, port)
            for table in ("tcp", "tcp6")
            for address, port in all_listeners(info.pid, table)
            if address != "0100007F"
        }
        assert found == {("0200007F", info.ports["s3"]), ("0200007F", info.ports["s3.grpc"])}
        assert wants_a_certificate("127.0.0.2", info.ports["s3.grpc"])
    finally:
        embedded.stop(tmp_path)


def all_listeners(pid: int, table: str) -> list[tuple[str, int]]:
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
    found = [fields[1].rsplit(":", 1) for fields in lines if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes]
    return [(address, int(port, 16)) for address, port in found]


def test_a_users_own_weed_settings_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRPC_MASTER_CERT", "GRPC_FILER_CERT", "HTTPS_MASTER_CA"):
        monkeypatch.setenv(f"WEED_{name}", "/nowhere")
    info = embedded.start(tmp_path)
    try:
        for name in ("master", "master.grpc", "filer.grpc", "volume"):
            assert wants_a_certificate("127.0.0.1", info.ports[name]), name
    finally:
        embedded.stop(tmp_path)


def wants_a_certificate(host: str, port: int) -> bool:
    """Whether a client without one is refused for that."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((host, port), timeout=10) as plain, context.wrap_socket(plain) as wire:
        try:
            wire.recv(1)  # TLS 1.3 tells it at the first read
        except ssl.SSLError as error:
            return "ALERT_CERTIFICATE_REQUIRED" in str(error) or "ALERT_BAD_CERTIFICATE" in str(error)
    return False


def test_a_server_of_before_that_is_open_is_started_anew(tmp_path: Path) -> None:
    info = embedded.start(tmp_path)
    try:
        (tmp_path / "store" / weed.CERTIFICATE).unlink()  # as an older Shipway has left it
        again = embedded.start(tmp_path)
        assert again.pid != info.pid
        assert again.access_key == info.access_key
    finally:
        embedded.stop(tmp_path)
