"""What nobody refers to goes; what is protected or young stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipway.storage import Store
from shipway.storage.gc import collect, remove_leftovers, sizes


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    store = Store.open(request.getfixturevalue("store_uri" if request.param == "s3" else "local_store_uri"))
    for key in ("a/1/manifest.json", "a/1/x/data", "a/2/manifest.json", "a/2/data", "ab/data", "top"):
        store.put(key, b"12345")
    return store


def test_the_unprotected_goes_documents_first(store: Store) -> None:
    doomed = collect(store, "a", ["a/1/x", "a/2/manifest.json"], grace_s=-60)
    assert [info.key for info in doomed] == ["a/1/manifest.json", "a/2/data"]
    assert [info.key for info in store.list()] == ["a/1/x/data", "a/2/manifest.json", "ab/data", "top"]


def test_what_is_young_stays_whoever_refers_to_it(store: Store) -> None:
    assert collect(store, "", []) == []
    assert len(list(store.list())) == 6


def test_a_dry_run_deletes_nothing(store: Store) -> None:
    assert len(collect(store, "", ["top"], grace_s=-60, dry_run=True)) == 5
    assert len(list(store.list())) == 6


def test_a_protected_root_protects_everything(store: Store) -> None:
    assert collect(store, "", [""], grace_s=-60) == []


def test_sizes_are_summed_by_folder(store: Store) -> None:
    assert [(size.prefix, size.objects, size.size_bytes) for size in sizes(store)] == [
        ("a", 4, 20),
        ("", 1, 5),
        ("ab", 1, 5),
    ]
    assert [(size.prefix, size.objects) for size in sizes(store, "a/")] == [("a/1", 2), ("a/2", 2)]
    assert sizes(store, "nothing") == []


def test_leftovers_of_killed_writers_are_removed_after_the_grace(local_store_uri: str) -> None:
    store = Store.open(local_store_uri)
    store.put("a/x", b"1")
    folder = Path(local_store_uri.removeprefix("file://"), "a")
    for name in ("old", "young"):
        (folder / f".shipway-{name}").write_bytes(b"half")
    os.utime(folder / ".shipway-old", (1, 1))
    assert [info.key for info in store.list()] == ["a/x"]
    assert remove_leftovers(store) == 1
    assert sorted(path.name for path in folder.iterdir()) == [".shipway-young", "x"]
