from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from shipway.artifacts import FileRef, ModelManifest
from shipway.errors import CorruptArtifact, NotFound
from shipway.scoring import ModelSession, fetch_model, needed_files
from tests.fixtures import toy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelManifest:
    root = tmp_path_factory.mktemp("folder")
    train = toy.rows(60)
    dataset = toy.write_dataset(root / "dataset", {"train": train})
    return toy.write_model(root / "model", dataset, train)


def test_a_model_is_fetched_once_and_kept_by_its_content(model: ModelManifest, tmp_path: Path) -> None:
    first = fetch_model(model, tmp_path / "cache")
    gone = model.model_copy(update={"uri": (tmp_path / "gone").as_uri()})
    assert fetch_model(gone, tmp_path / "cache") == first
    assert ModelSession.open(gone, cache=tmp_path / "cache").predict(["w1_1"])["probabilities"].shape == (1, 4)


def test_a_kept_folder_that_was_changed_is_fetched_anew(model: ModelManifest, tmp_path: Path) -> None:
    folder = fetch_model(model, tmp_path / "cache")
    (folder / "model.onnx").write_bytes(b"another program")
    assert ModelSession.open(model, cache=tmp_path / "cache").predict(["w1_1"])["probabilities"].shape == (1, 4)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_what_was_changed_in_the_store_is_never_kept(model: ModelManifest, tmp_path: Path) -> None:
    source = tmp_path / "changed"
    source.mkdir()
    for file in model.files:
        data = (Path(model.uri.removeprefix("file://")) / file.path).read_bytes()
        (source / file.path).write_bytes(data + b"!")
    with pytest.raises(CorruptArtifact, match="sha256"):
        fetch_model(model.model_copy(update={"uri": source.as_uri()}), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_a_model_that_is_gone_is_not_found(model: ModelManifest, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        fetch_model(model.model_copy(update={"uri": (tmp_path / "gone").as_uri()}), tmp_path / "cache")


def test_many_that_fetch_at_once_all_get_the_whole_folder(model: ModelManifest, tmp_path: Path) -> None:
    barrier = threading.Barrier(6)
    folders: list[Path] = []

    def fetch() -> None:
        barrier.wait()
        folders.append(fetch_model(model, tmp_path / "cache"))

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(folders) == 6
    assert len(set(folders)) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folders[0].name]


def test_what_a_killed_predictor_left_goes(model: ModelManifest, tmp_path: Path) -> None:
    left, at_work = tmp_path / "cache/.7-left", tmp_path / "cache/.8-at-work"
    for folder in (left, at_work):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    fetch_model(model, tmp_path / "cache")
    assert (left.exists(), at_work.exists()) == (False, True)


def test_only_the_files_that_serving_needs_are_fetched(model: ModelManifest) -> None:
    graph = FileRef(path="saved_model/saved_model.pb", size_bytes=1, sha256="0" * 64)
    both = model.model_copy(update={"variants": [*model.variants, toy.variant("saved_model", "saved_model", graph)]})
    assert [file.path for file in needed_files(both)] == ["encoder.json", "model.onnx"]
    saved = both.model_copy(update={"serving": "saved_model"})
    assert [file.path for file in needed_files(saved)] == ["encoder.json", "saved_model/saved_model.pb"]
