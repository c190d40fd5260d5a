"""What every store must do, run against each backend."""

from __future__ import annotations

import asyncio
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipway.errors import Conflict, CorruptArtifact, InvalidSpec, NotFound
from shipway.storage import Store, open_folder, open_uri


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    return Store.open(request.getfixturevalue("store_uri" if request.param == "s3" else "local_store_uri"))


def test_what_was_put_is_got(store: Store) -> None:
    info = store.put("a/b.bin", b"hello")
    assert (info.key, info.size_bytes) == ("a/b.bin", 5)
    assert store.get("a/b.bin") == b"hello"
    head = store.head("a/b.bin")
    assert head is not None
    assert (head.key, head.size_bytes, head.etag) == ("a/b.bin", 5, info.etag)


def test_many_small_objects_are_got_in_the_order_of_their_keys(store: Store) -> None:
    content = {f"many/{number}": b"x" * (number % 5) for number in range(70)}
    for key, data in content.items():
        store.put(key, data)
    keys = [*reversed(content), "many/missing"]
    expected = [content[key] if len(content[key]) <= 3 else len(content[key]) for key in keys[:-1]]
    assert store.get_many(keys, 3) == [*expected, None]
    assert store.get_many([], 3) == []


def test_a_missing_object_is_not_found(store: Store) -> None:
    assert store.head("nothing") is None
    assert store.get_versioned("nothing") is None
    with pytest.raises(NotFound, match="nothing"):
        store.get("nothing")
    with pytest.raises(NotFound, match="nothing"):
        store.get_range("nothing", 0, 5)


def test_ranges_end_where_the_object_ends(store: Store) -> None:
    store.put("x", b"0123456789")
    assert store.get_range("x", 2, 3) == b"234"
    assert store.get_range("x", 8, 10) == b"89"
    assert store.get_range("x", 10, 5) == b""
    assert store.get_range("x", 3, 0) == b""


def test_only_the_first_of_two_creations_wins(store: Store) -> None:
    store.put("x", b"1", create=True)
    with pytest.raises(Conflict, match="exists already"):
        store.put("x", b"2", create=True)
    assert store.get("x") == b"1"


def test_a_swap_needs_the_version_that_was_read(store: Store) -> None:
    first = store.compare_and_swap("x", b"1", None)
    second = store.compare_and_swap("x", b"2", first.etag)
    with pytest.raises(Conflict, match="changed since"):
        store.compare_and_swap("x", b"3", first.etag)
    found = store.get_versioned("x")
    assert found == (b"2", second.etag)
    with pytest.raises(Conflict, match="exists already"):
        store.compare_and_swap("x", b"4", None)


def test_a_listing_is_sorted_and_stays_in_its_folder(store: Store) -> None:
    for key in ("b/2", "b/10", "a", "b/1/x", "bb/1", "b-1/x"):
        store.put(key, b"1")
    assert [info.key for info in store.list()] == ["a", "b-1/x", "b/1/x", "b/10", "b/2", "bb/1"]
    assert [info.key for info in store.list("b")] == ["b/1/x", "b/10", "b/2"]
    assert [info.key for info in store.list("b/")] == ["b/1/x", "b/10", "b/2"]
    assert list(store.list("none")) == []


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.put("x", b"1")
    store.put("y", b"1")
    store.delete("x", "y", "z")
    store.delete("x")
    assert list(store.list()) == []


@pytest.mark.parametrize("size", [0, 1, 70_000, (33 << 20) + 7])
def test_a_file_comes_back_as_it_went(store: Store, tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    ref = store.upload(source, "deep/file.bin")
    assert (ref.path, ref.size_bytes) == ("deep/file.bin", size)
    store.download("deep/file.bin", tmp_path / "out" / "file", sha256=ref.sha256)
    assert (tmp_path / "out" / "file").read_bytes() == source.read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


def test_folders_travel_whole(store: Store, tmp_path: Path) -> None:
    for number in range(50):
        path = tmp_path / "in" / str(number % 3) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    refs = store.upload_folder(tmp_path / "in", "data")
    assert [ref.path for ref in refs] == sorted(ref.path for ref in refs)
    store.download_folder("data", refs, tmp_path / "out")
    for ref in refs:
        assert (tmp_path / "out" / ref.path).read_bytes() == (tmp_path / "in" / ref.path).read_bytes()


def test_a_damaged_object_never_reaches_the_disk(store: Store, tmp_path: Path) -> None:
    store.put("good", b"good")
    source = tmp_path / "source"
    source.write_bytes(b"bad")
    ref = store.upload(source, "bad")
    store.put("bad", b"BAD")
    with pytest.raises(CorruptArtifact, match=r"bad: sha256"):
        store.download_many([("good", tmp_path / "out" / "good", None), ("bad", tmp_path / "out" / "bad", ref.sha256)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["", "/a", "a/../b", "../a", "a//b", "a/", "a\\b", "a\0b", ".", ".shipway-x"])
def test_a_key_that_escapes_is_refused(store: Store, key: str) -> None:
    with pytest.raises(InvalidSpec, match="storage key"):
        store.put(key, b"1")


def test_an_objects_uri_opens_the_store_that_holds_it(store: Store) -> None:
    store.put("a/b", b"1")
    other, key = open_uri(f"{store.uri}/a/b")
    assert other.get(key) == b"1"
    assert open_folder(f"{store.uri}/a").get("b") == b"1"


SEGMENT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=12
).filter(lambda part: part not in (".", "..") and not part.startswith(".shipway-"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(SEGMENT, min_size=1, max_size=3), data=st.binary(max_size=200))
def test_any_key_comes_back_from_a_listing_as_it_was_given(store: Store, parts: list[str], data: bytes) -> None:
    key = "/".join([uuid.uuid4().hex, *parts])
    store.put(key, data)
    assert store.get(key) == data
    assert [info.key for info in store.list(key.split("/")[0])] == [key]
    store.delete(key)
    assert store.head(key) is None


def test_many_objects_are_listed_and_deleted_at_once(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1")
    keys = [f"many/{number:04d}" for number in range(1100)]  # more than one page, more than one bulk delete
    store.upload_many([(source, key) for key in keys])
    assert [info.key for info in store.list("many")] == keys
    store.delete(*keys)
    assert list(store.list("many")) == []


def test_a_missing_file_among_many_is_named(store: Store, tmp_path: Path) -> None:
    store.put("there", b"1")
    with pytest.raises(NotFound, match="gone"):
        store.download_many([("there", tmp_path / "a", None), ("gone", tmp_path / "b", None)])
    assert list(tmp_path.rglob("a")) == []
    with pytest.raises(NotFound, match="no such file"):
        store.upload(tmp_path / "nothing", "x")


def test_a_transfer_works_inside_a_running_event_loop(store: Store, tmp_path: Path) -> None:
    async def notebook() -> None:
        store.put("x", b"1")
        store.download_many([("x", tmp_path / "x", None)])

    asyncio.run(notebook())
    assert (tmp_path / "x").read_bytes() == b"1"


def test_a_folder_appears_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    store.put("a", b"1")
    store.put("b/c", b"2")
    out = tmp_path / "here" / "new" / "deep"
    (tmp_path / "here").mkdir()
    with pytest.raises(CorruptArtifact):
        store.download_many([("a", out / "a", None), ("b/c", out / "b" / "c", "0" * 64)])
    assert list((tmp_path / "here").iterdir()) == []
    store.download_many([("a", out / "a", None), ("b/c", out / "b" / "c", None)])
    assert (out / "b" / "c").read_bytes() == b"2"
    store.download_many([("b/c", out / "a", None), ("a", out / "more" / "a", None)])  # into one that is there
    assert ((out / "a").read_bytes(), (out / "more" / "a").read_bytes()) == (b"2", b"1")
    assert sorted(path.name for path in out.rglob("*")) == ["a", "a", "b", "c", "more"]


def test_two_downloads_into_one_new_folder_both_arrive(store: Store, tmp_path: Path) -> None:
    for number in range(20):
        store.put(f"{number}", str(number).encode())
    new = tmp_path / "here" / "new"
    (tmp_path / "here").mkdir()

    def download(turn: range) -> None:
        store.download_many([(str(number), new / str(number), None) for number in turn])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(download, [range(10), range(10, 20), range(5, 15)]))
    assert {path.name: path.read_text() for path in new.iterdir()} == {str(n): str(n) for n in range(20)}
    assert list((tmp_path / "here").iterdir()) == [new]
