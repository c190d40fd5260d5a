"""A registration that is killed at any of its writes: readers see whole versions only, and typed again it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import ModelManifest
from shipway.registry import Registry
from shipway.scoring import verify_files
from shipway.storage import Store
from tests.fixtures import toy
from tests.unit.registry.records import evaluation


class Killed(BaseException):
    """Like a SIGKILL, nobody catches this."""


class Dying:
    """Lets `writes` writes through a store's backend; the next one never happens."""

    def __init__(self, store: Store, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = writes
        backend = store._backend
        for name in ("put", "create", "swap", "upload", "delete"):
            monkeypatch.setattr(backend, name, self.counted(getattr(backend, name)))

    def counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return write(*args)

        return dying


def check_whole(registry: Registry, tmp_path: Path) -> None:
    """Whatever a reader can name can be read completely."""
    for number in registry.versions("toy"):
        version = registry.get("toy", number)
        assert version.version == number
        folder = tmp_path / f"read-{number}"
        Store.open(version.model.uri).download_folder("", version.model.files, folder)
        verify_files(folder, version.model.files)
    for number in registry.aliases("toy").values():
        assert number in registry.versions("toy")
    moves = registry.history("toy", "candidate")
    assert [move.previous_version for move in moves] == [*(move.version for move in moves[1:]), None][: len(moves)]


def test_a_registration_killed_at_every_single_write_leaves_whole_versions_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = toy.rows(60)
    dataset = toy.write_dataset(tmp_path / "dataset", {"train": train})
    models: list[ModelManifest] = [toy.write_model(tmp_path / f"m{i}", dataset, train, flip=i / 10) for i in (0, 1)]
    for writes in range(40):
        uri = (tmp_path / f"store-{writes}").as_uri()
        Registry(Store.open(uri)).register(models[0], evaluation=evaluation(models[0]), run="r1")
        dying = Registry(Store.open(uri))
        with monkeypatch.context() as patch:
            Dying(dying.store, writes, patch)
            try:
                dying.register(models[1], evaluation=evaluation(models[1]), run="r2")
                survived = True
            except Killed:
                survived = False
        reader = Registry(Store.open(uri))
        check_whole(reader, tmp_path / f"check-{writes}")
        assert reader.alias("toy", "candidate") == (2 if survived else reader.alias("toy", "candidate"))
        again = reader.register(models[1], evaluation=evaluation(models[1]), run="r2")
        assert (again.version, reader.versions("toy"), reader.alias("toy", "candidate")) == (2, [1, 2], 2)
        assert reader.store.head("models/toy/cards/2.md") is not None
        check_whole(reader, tmp_path / f"again-{writes}")
        if survived:
            assert writes >= 7  # files, manifest, version, two cards, move, pointer
            return
    pytest.fail("never came to an end")


def test_a_collection_killed_at_every_single_write_leaves_whole_versions_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = toy.rows(60)
    dataset = toy.write_dataset(tmp_path / "dataset", {"train": train})
    models = [toy.write_model(tmp_path / f"m{i}", dataset, train, flip=i / 10) for i in range(3)]
    for writes in range(40):
        store = Store.open((tmp_path / f"store-{writes}").as_uri())
        registry = Registry(store)
        for model in models:
            registry.register(model)
        with monkeypatch.context() as patch:
            Dying(store, writes, patch)
            try:
                registry.gc(keep=1, dry_run=False, grace_s=0)
                survived = True
            except Killed:
                survived = False
        reader = Registry(Store.open(store.uri))
        check_whole(reader, tmp_path / f"check-{writes}")
        assert reader.get("toy", "candidate").version == 3
        reader.gc(keep=1, dry_run=False, grace_s=0)
        assert reader.versions("toy") == [3]
        assert {info.key.split("/")[3] for info in reader.store.list("models/toy/content/")} == {models[2].digest}
        assert not list(reader.store.list("models/toy/tombstones/"))
        assert len(list(reader.store.list("models/toy/cards/"))) == 2
        if survived:
            return
    pytest.fail("never came to an end")
