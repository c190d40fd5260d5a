from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from shipway.artifacts import FileRef, ModelManifest
from shipway.errors import CorruptArtifact, InvalidSpec, NotFound
from shipway.language.description import EncoderDescription
from shipway.language.storing import upload
from shipway.registry import Registry
from shipway.registry.aliases import tombstone_key
from shipway.storage import Store, open_folder
from tests.fixtures import toy
from tests.unit.registry.records import evaluation

DAY = 86400.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[ModelManifest]:
    root = tmp_path_factory.mktemp("collect")
    train = toy.rows(60)
    dataset = toy.write_dataset(root / "dataset", {"train": train})
    return [toy.write_model(root / f"model-{i}", dataset, train, flip=i / 10) for i in range(6)]


class Filled:
    """A store with six versions, each with its dataset, job and evaluation, all of them old."""

    def __init__(self, root: Path, models: list[ModelManifest]) -> None:
        self.root = root
        self.registry = Registry(Store.open(root.as_uri()))
        self.store = self.registry.store
        for i, model in enumerate(models):
            number = i + 1
            job = f"jobs/train-{number}"
            for file in model.files:
                self.store.put(f"{job}/model/{file.path}", (Path(model.uri[7:]) / file.path).read_bytes())
            self.put(f"{job}/checkpoints/step-10/weights", f"{job}/outcome.json", f"{job}/tensorboard/events")
            self.put(f"datasets/fp-{number}/manifest.json", f"datasets/fp-{number}/train/0.tfrecord")
            kept = model.model_copy(
                update={
                    "uri": f"{self.store.uri}/{job}/model",
                    "dataset_uri": f"{self.store.uri}/datasets/fp-{number}",
                }
            )
            record = evaluation(kept).model_copy(
                update={"uri": f"{self.store.uri}/evaluations/e{number}", "dataset_uri": kept.dataset_uri}
            )
            self.store.put(f"evaluations/e{number}/record.json", record.to_json().encode())
            self.put(f"evaluations/e{number}/predictions.parquet")
            assert self.registry.register(kept, evaluation=record, run=f"r{number}").version == number
        self.age()

    def put(self, *keys: str) -> None:
        for key in keys:
            self.store.put(key, b"{}")

    def age(self, prefix: str = "") -> None:
        old = time.time() - 30 * DAY
        for path in (self.root / prefix).rglob("*"):
            if path.is_file():
                os.utime(path, (old, old))

    def objects(self) -> set[str]:
        return {info.key for info in self.store.list()}

    def folders(self, top: str) -> set[str]:
        return {key.split("/")[1] for key in self.objects() if key.startswith(f"{top}/")}


@pytest.fixture
def filled(tmp_path: Path, models: list[ModelManifest]) -> Filled:
    return Filled(tmp_path / "store", models)


def test_only_what_nothing_uses_goes_and_the_rest_still_loads(filled: Filled) -> None:
    registry = filled.registry
    for number in (1, 2):
        registry.promote("toy", number)  # 2 is the champion, and a rollback returns to 1
    filled.put("endpoints/other.json")
    filled.store.put("endpoints/toy.json", json.dumps({"name": "toy", "model": "toy", "version": 3}).encode())
    report = registry.gc(keep=1, dry_run=False)
    assert registry.versions("toy") == [1, 2, 3, 6]
    assert report.kept == {
        "toy/1": "a rollback returns to it", "toy/2": "alias champion", "toy/3": "endpoint toy serves it",
        "toy/6": "alias candidate",
    }  # fmt: skip
    assert filled.folders("datasets") == {"fp-1", "fp-2", "fp-3", "fp-6"}
    assert filled.folders("evaluations") == {"e1", "e2", "e3", "e6"}
    assert not any("/checkpoints/" in key for key in filled.objects())
    models_left = {key.split("/")[1] for key in filled.objects() if key.startswith("jobs/") and "/model/" in key}
    assert models_left == {"train-1", "train-2", "train-3", "train-6"}
    assert not any("tombstones" in key for key in filled.objects())
    for number in registry.versions("toy"):
        for file in registry.get("toy", number).model.files:
            assert open_folder(registry.get("toy", number).model.uri).head(file.path) is not None
    assert report.size_bytes > 0
    assert registry.gc(keep=1, dry_run=False).removed == []
    assert registry.rollback("toy").version == 1


def test_a_dry_run_lists_the_same_and_removes_nothing(filled: Filled) -> None:
    before = filled.objects()
    listed = filled.registry.gc(keep=2, dry_run=True)
    assert filled.objects() == before
    done = filled.registry.gc(keep=2, dry_run=False)
    assert [item.prefix for item in done.removed] == [item.prefix for item in listed.removed]
    removed = {key for key in before if any(key.startswith(item.prefix) for item in done.removed)}
    cards = {f"models/toy/cards/{number}.{kind}" for number in (1, 2, 3, 4) for kind in ("md", "html")}
    assert filled.objects() == before - removed - cards


def test_nothing_younger_than_the_grace_goes(filled: Filled) -> None:
    report = filled.registry.gc(keep=1, dry_run=False, grace_s=60 * DAY)
    assert report.removed == []
    assert report.kept["toy/1"] == "younger than the grace"


def test_a_running_job_keeps_its_checkpoints_and_every_dataset(filled: Filled) -> None:
    filled.put("jobs/train-new/checkpoints/step-1/weights", "jobs/train-new/lease.json")
    filled.registry.gc(keep=1, dry_run=False)
    assert "jobs/train-new/checkpoints/step-1/weights" in filled.objects()
    assert len(filled.folders("datasets")) == 6
    filled.age("jobs/train-new")  # long dead, though it left no outcome
    filled.registry.gc(keep=1, dry_run=False)
    assert "jobs/train-new/checkpoints/step-1/weights" not in filled.objects()
    assert len(filled.folders("datasets")) == 1


def test_what_a_young_run_mentions_stays_though_it_is_old_itself(filled: Filled) -> None:
    record = {"outputs": {"uri": f"{filled.store.uri}/datasets/fp-2", "job": f"{filled.store.uri}/jobs/train-3/model"}}
    filled.store.put("runs/young/steps/dataset.json", json.dumps(record).encode())
    filled.registry.gc(keep=1, dry_run=False)
    assert filled.folders("datasets") == {"fp-2", "fp-6"}
    assert "jobs/train-3/model/model.onnx" in filled.objects()
    assert "jobs/train-2/model/model.onnx" not in filled.objects()
    filled.age("runs")
    filled.registry.gc(keep=1, dry_run=False)
    assert filled.folders("datasets") == {"fp-6"}


def test_a_sentence_encoder_stays_while_anything_that_stays_asks_it(filled: Filled) -> None:
    encoders = {"dataset": "d" * 64, "version": "e" * 64, "job": "b" * 64, "run": "a" * 64, "gone": "0" * 64}
    for digest in encoders.values():
        filled.put(f"encoders/{digest}/encoder.onnx", f"encoders/{digest}/encoder.json")

    def ask(key: str, name: str) -> None:
        reference = f"{filled.store.uri}/encoders/{encoders[name]}/encoder.json#sha256={encoders[name]}"
        filled.store.put(key, json.dumps({"sentences": {"reference": reference}}).encode())

    content = filled.registry.get("toy", 6).model.uri.removeprefix(f"{filled.store.uri}/")
    ask("datasets/fp-6/encoder.json", "dataset")
    ask("datasets/fp-1/encoder.json", "gone")
    ask(f"{content}/encoder.json", "version")
    ask("jobs/train-6/model/encoder.json", "job")
    filled.age()
    ask("runs/young/steps/dataset.json", "run")
    listed = filled.registry.gc(keep=1)
    assert filled.registry.gc("toy", keep=1).removed
    assert len(filled.folders("encoders")) == 5
    done = filled.registry.gc(keep=1, dry_run=False)
    assert listed.removed == done.removed
    assert filled.folders("encoders") == {encoders[name] for name in ("dataset", "version", "job", "run")}
    assert (done.removed[-1].prefix, done.removed[-1].objects) == (f"encoders/{encoders['gone']}/", 2)


def test_an_encoder_that_is_put_again_is_young(tmp_path: Path, filled: Filled) -> None:
    """Prep finds it there, and writes the dataset that names it minutes later."""
    description = EncoderDescription(
        name="mine",
        width=4,
        model=FileRef(path="encoder.onnx", size_bytes=5, sha256="0" * 64),
        tokenizer=FileRef(path="tokenizer.json", size_bytes=2, sha256="0" * 64),
    )
    for file in description.files:
        (tmp_path / file.path).write_bytes(b"bytes")
    reference = upload(tmp_path, description, f"{filled.store.uri}/encoders")
    filled.age()
    assert upload(tmp_path, description, f"{filled.store.uri}/encoders") == reference
    filled.registry.gc(keep=1, dry_run=False)
    assert len(filled.folders("encoders")) == 1
    filled.age()
    filled.registry.gc(keep=1, dry_run=False)
    assert filled.folders("encoders") == set()


def test_an_endpoint_that_does_not_say_its_version_keeps_them_all(filled: Filled) -> None:
    filled.store.put("endpoints/toy.json", json.dumps({"name": "toy"}).encode())
    filled.registry.gc(keep=1, dry_run=False)
    assert filled.registry.versions("toy") == [1, 2, 3, 4, 5, 6]


def test_an_endpoint_record_that_cannot_be_read_stops_everything(filled: Filled) -> None:
    filled.store.put("endpoints/toy.json", b"not json")
    before = filled.objects()
    with pytest.raises(CorruptArtifact, match=r"endpoints/toy\.json"):
        filled.registry.gc(keep=1, dry_run=False)
    assert filled.objects() == before


def test_one_name_alone_leaves_jobs_and_datasets(filled: Filled) -> None:
    filled.registry.gc("toy", keep=1, dry_run=False)
    assert filled.registry.versions("toy") == [6]
    assert len(filled.folders("datasets")) == 6


def test_content_that_two_versions_share_stays_for_the_one_that_stays(
    filled: Filled, models: list[ModelManifest]
) -> None:
    again = filled.registry.register(models[0], evaluation=evaluation(models[0], fingerprint="new rows"), run="r9")
    assert again.version == 7
    filled.age("models")
    filled.registry.gc(keep=1, dry_run=False)
    assert filled.registry.versions("toy") == [7]
    assert open_folder(again.model.uri).head("model.onnx") is not None


def test_content_of_other_variants_that_no_version_names_any_more_goes(filled: Filled) -> None:
    """Both lie below the same model's digest."""
    before = filled.registry.get("toy", 6)
    second = before.model.served.model_copy(update={"name": "second"})
    other = before.model.model_copy(update={"variants": [*before.model.variants, second]})
    newest = filled.registry.register(other, evaluation=evaluation(other, fingerprint="new rows"), run="r9")
    assert (newest.digest, newest.version) == (before.digest, 7)
    assert newest.model.uri != before.model.uri
    filled.age("models")
    filled.registry.gc(keep=1, dry_run=False)
    assert filled.registry.versions("toy") == [7]
    assert open_folder(newest.model.uri).head("model.onnx") is not None
    assert open_folder(before.model.uri).head("model.onnx") is None


def test_a_version_whose_removal_began_cannot_become_champion(filled: Filled) -> None:
    registry = filled.registry
    registry.promote("toy", 5)
    filled.put(tombstone_key("toy", 2))
    with pytest.raises(NotFound, match="version 2 of toy is being removed"):
        registry.promote("toy", 2)
    assert registry.alias("toy", "champion") == 5
    registry.gc(keep=6, dry_run=False)  # the collection that was stopped is forgotten
    registry.promote("toy", 2)
    assert registry.alias("toy", "champion") == 2


def test_a_collection_that_begins_while_an_alias_moves_sees_it(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its plan and its tombstone the champion moves to a doomed version."""
    registry = filled.registry
    put = filled.store.put

    def put_after_promotion(key: str, data: bytes, **options: bool) -> object:
        if key == tombstone_key("toy", 2):
            registry.promote("toy", 2)
        return put(key, data, **options)

    monkeypatch.setattr(filled.store, "put", put_after_promotion)
    report = registry.gc(keep=1, dry_run=False)
    assert registry.versions("toy") == [2, 6]
    assert report.kept["toy/2"] == "alias champion"
    assert registry.get("toy", "champion").version == 2
    assert filled.store.head(tombstone_key("toy", 2)) is None


@pytest.mark.parametrize(("keep", "grace_s"), [(0, 1.0), (1, -1.0)])
def test_numbers_that_would_remove_too_much_are_refused(filled: Filled, keep: int, grace_s: float) -> None:
    with pytest.raises(InvalidSpec, match="keep must be at least 1"):
        filled.registry.gc(keep=keep, grace_s=grace_s)
