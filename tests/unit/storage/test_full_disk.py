"""A disk that is really full: one line that says which, and nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shipway.errors import StorageError
from shipway.storage import Store, embedded


def test_a_full_local_store_keeps_the_old_object(small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(2)
    store = Store.open(f"file://{folder}")
    store.put("x", b"old")
    with pytest.raises(StorageError, match=r"no space left on the disk \(\d+ MiB free\)"):
        store.put("x", bytes(4 << 20))
    assert store.get("x") == b"old"
    assert [path.name for path in folder.iterdir()] == ["x"]


@pytest.mark.parametrize("size", [3 << 20, 40 << 20])
def test_a_download_to_a_full_disk_leaves_nothing(
    small_disk: Callable[[int], Path], store_uri: str, tmp_path: Path, size: int
) -> None:
    folder = small_disk(2)
    store = Store.open(store_uri)
    (tmp_path / "source").write_bytes(bytes(size))
    store.upload(tmp_path / "source", "big")
    for download in (
        lambda: store.download("big", folder / "big"),
        lambda: store.download_many([("big", folder / "big", None)]),
    ):
        with pytest.raises(StorageError, match="no space left on the disk"):
            download()
        assert list(folder.iterdir()) == []


def test_a_full_object_store_says_so(small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_disk(300)
    info = embedded.start(folder / "home")
    try:
        monkeypatch.setenv("SHIPWAY_HOME", str(folder / "home"))
        for name, value in embedded.environment(info).items():
            monkeypatch.setenv(name, value)
        store = Store.open("s3://shipway/full")
        store.put("x", b"old")
        disk = os.statvfs(folder)
        with open(folder / "fill", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_bsize)
        with pytest.raises(StorageError, match=r"no space left on the disk of the object store .*`shipway store gc`"):
            store.put("x", bytes(3 << 20))
        assert store.get("x") == b"old"
        embedded.stop(folder / "home")  # or died of it
        with pytest.raises(StorageError, match="no space left on the disk of the object store"):
            store.get("x")
    finally:
        embedded.stop(folder / "home")


def test_a_store_is_not_started_on_a_full_disk(small_disk: Callable[[int], Path]) -> None:
    with pytest.raises(StorageError, match="the object store keeps 256; free some disk"):
        embedded.start(small_disk(10) / "home")
