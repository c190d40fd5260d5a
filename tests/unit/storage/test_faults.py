"""A real server behind a proxy that resets, stalls and answers 503: few retries, true answers, one clear line."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from shipway.errors import AccessDenied, Conflict, NotFound, StorageError, StorageUnavailable
from shipway.storage import Store
from shipway.storage.buckets import ensure_bucket


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


proxies = _load("proxy")


@pytest.fixture
def proxy(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[proxies.Proxy]:
    proxy = proxies.Proxy(os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def store(store_uri: str, proxy: proxies.Proxy) -> Store:
    store = Store.open(store_uri)
    store.put("there", b"0123456789" * 1000)
    return store


ACTS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("there") == b"0123456789" * 1000,
    "get_range": lambda store: store.get_range("there", 3, 4) == b"3456",
    "head": lambda store: store.head("there"),
    "put": lambda store: store.put("new", b"1" * 100_000),
    "create": lambda store: store.put("created", b"1", create=True),
    "list": lambda store: [info.key for info in store.list()] == ["there"],
    "delete": lambda store: store.delete("there") is None,
}


@pytest.mark.parametrize("fault", ["resets", "busy", "lost_answers"])
@pytest.mark.parametrize("act", ACTS)
def test_two_faults_inline_are_survived(store: Store, proxy: proxies.Proxy, act: str, fault: str) -> None:
    setattr(proxy, fault, 2)
    assert ACTS[act](store)
    assert getattr(proxy, fault) == 0


@pytest.mark.parametrize("act", ACTS)
def test_a_server_that_stays_busy_is_unavailable_after_few_requests(
    store: Store, proxy: proxies.Proxy, act: str
) -> None:
    proxy.busy = 1000
    with pytest.raises(StorageUnavailable, match="503") as raised:
        ACTS[act](store)
    assert "\n" not in str(raised.value)
    assert 1000 - proxy.busy <= 8


@pytest.mark.parametrize("act", ACTS)
def test_a_dead_server_is_named_with_the_command_that_starts_it(store: Store, proxy: proxies.Proxy, act: str) -> None:
    proxy.close()
    proxy.resets = 1000
    with pytest.raises(StorageUnavailable, match=rf"nobody answers at {proxy.endpoint}.*`shipway store start`"):
        ACTS[act](store)


def test_a_creation_whose_answer_was_lost_is_not_its_own_rival(store: Store, proxy: proxies.Proxy) -> None:
    proxy.lost_answers = 1
    info = store.put("once", b"mine", create=True)
    head = store.head("once")
    assert head is not None
    assert head.etag == info.etag
    with pytest.raises(Conflict):
        store.put("once", b"mine", create=True)  # equal bytes, yet another writer


def test_a_swap_whose_answer_was_lost_is_not_its_own_rival(store: Store, proxy: proxies.Proxy) -> None:
    first = store.compare_and_swap("pointer", b"1", None)
    proxy.lost_answers = 1
    second = store.compare_and_swap("pointer", b"2", first.etag)
    assert store.get_versioned("pointer") == (b"2", second.etag)


@pytest.mark.parametrize("size", [100_000, (40 << 20) + 11])
def test_a_download_that_breaks_off_is_taken_up_again(
    store: Store, proxy: proxies.Proxy, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    ref = store.upload(source, "big")
    proxy.cut_answers = (2, size // 3 % (5 << 20))
    store.download("big", tmp_path / "out", sha256=ref.sha256)
    assert proxy.cut_answers[0] == 0
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


def test_an_upload_in_parts_survives_resets(store: Store, proxy: proxies.Proxy, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom((40 << 20) + 11))
    proxy.resets = 2
    ref = store.upload(source, "big")
    store.download("big", tmp_path / "out", sha256=ref.sha256)
    assert proxy.resets == 0


def test_many_small_files_survive_resets(store: Store, proxy: proxies.Proxy, tmp_path: Path) -> None:
    for number in range(64):
        (tmp_path / f"{number}").write_bytes(os.urandom(1000))
    proxy.resets = 2
    refs = store.upload_folder(tmp_path, "many")
    proxy.busy = 2
    store.download_folder("many", refs, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 64


@pytest.mark.parametrize(("variable", "value"), [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "guess")])
@pytest.mark.parametrize("act", ACTS)
def test_wrong_credentials_are_denied_and_never_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch, act: str, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    other = Store.open(store.uri)
    with pytest.raises(AccessDenied, match="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as raised:
        ACTS[act](other)
    assert "\n" not in str(raised.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(raised.value)
    with pytest.raises(AccessDenied):
        ensure_bucket("shipway")


def test_a_bucket_that_is_not_there_is_not_found(store_uri: str) -> None:
    with pytest.raises(NotFound, match="no such bucket"):
        Store.open("s3://no-such-bucket-here").get("there")


def test_a_broken_answer_is_an_error_of_storage_not_of_ours(store: Store, proxy: proxies.Proxy) -> None:
    proxy.cut_answers = (1000, 20)
    with pytest.raises(StorageError):
        store.get("there")


def test_a_forked_child_is_told_so_instead_of_waiting_for_ever(store: Store) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store.get("there")
            os.write(writer, b"no error")
        except StorageError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert b"was forked after its parent had used object storage" in pipe.read()
    os.waitpid(pid, 0)
