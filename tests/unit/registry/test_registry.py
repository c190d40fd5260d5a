from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from shipway.artifacts import DatasetManifest, DecisionRecord, ModelManifest, Parity, Speed
from shipway.errors import CorruptArtifact, InvalidSpec, NotFound, Superseded
from shipway.registry import Registry
from shipway.registry.aliases import previous_version
from shipway.registry.reading import content_uri
from shipway.registry.record import Move
from shipway.scoring import ModelSession, stored_manifest, verify_files
from shipway.storage import Store
from tests.fixtures import toy
from tests.unit.registry.records import evaluation


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetManifest, list[ModelManifest]]:
    root = tmp_path_factory.mktemp("registry")
    train = toy.rows(60)
    dataset = toy.write_dataset(root / "dataset", {"train": train, "eval": toy.rows(20, 1), "test": toy.rows(20, 2)})
    models = [toy.write_model(root / f"model-{i}", dataset, train, flip=i / 10) for i in range(4)]
    return dataset, models


@pytest.fixture
def dataset(made: tuple[DatasetManifest, list[ModelManifest]]) -> DatasetManifest:
    return made[0]


@pytest.fixture
def models(made: tuple[DatasetManifest, list[ModelManifest]]) -> list[ModelManifest]:
    return made[1]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Store.open((tmp_path / "store").as_uri()))


@pytest.fixture(params=["store_uri", "local_store_uri"])
def shared(request: pytest.FixtureRequest) -> Registry:
    """For what depends on conditional writes: the real object store, and a folder."""
    return Registry(Store.open(request.getfixturevalue(request.param)))


def test_a_registered_model_survives_the_job_that_trained_it(
    registry: Registry, dataset: DatasetManifest, models: list[ModelManifest], tmp_path: Path
) -> None:
    version = registry.register(models[0], evaluation=evaluation(models[0]), dataset=dataset, run="r1")
    assert version.version == 1
    assert version.model.uri == content_uri(registry.store, models[0])
    assert version.source_uri == models[0].uri
    assert version.dataset_rows == {"train": 60, "eval": 20, "test": 20}
    session = ModelSession.open(registry.get("toy").model, cache=tmp_path / "cache")
    assert np.shape(session.predict(["w0_1 w0_2"])["probabilities"]) == (1, 4)


def test_registering_again_gives_the_version_that_is_there(shared: Registry, models: list[ModelManifest]) -> None:
    first = shared.register(models[0], evaluation=evaluation(models[0]), run="r1")
    same_run = shared.register(models[0], evaluation=evaluation(models[0], fingerprint="other rows"), run="r1")
    same_rows = shared.register(models[0], evaluation=evaluation(models[0]), run="r2")
    assert first == same_run == same_rows
    other_rows = shared.register(models[0], evaluation=evaluation(models[0], fingerprint="other rows"), run="r3")
    other_model = shared.register(models[1], evaluation=evaluation(models[1]), run="r1")
    assert [other_rows.version, other_model.version] == [2, 3]
    assert shared.versions("toy") == [1, 2, 3]


def again(model: ModelManifest, folder: Path, name: str = "onnx") -> ModelManifest:
    """What an equal training publishes on another day: the same weights, an ONNX file of other bytes."""
    toy.write_bytes(folder, "encoder.json", (Path(model.uri[7:]) / "encoder.json").read_bytes())
    graph = onnx.load(str(Path(model.uri[7:]) / "model.onnx"))
    graph.producer_name = "another day"
    made = toy.variant(name, "model.onnx", toy.write_bytes(folder, "model.onnx", graph.SerializeToString()))
    return model.model_copy(
        update={"uri": folder.as_uri(), "variants": [made.model_copy(update={"format": "onnx"})], "serving": name}
    )


def test_an_equal_training_is_the_same_version_though_its_files_differ(
    registry: Registry, models: list[ModelManifest], tmp_path: Path
) -> None:
    equal = again(models[0], tmp_path / "again")
    assert equal.digest == models[0].digest
    assert equal.served.digest != models[0].served.digest
    first = registry.register(models[0], evaluation=evaluation(models[0]), run="r1")
    assert registry.register(equal, evaluation=evaluation(equal), run="r2") == first
    other_rows = registry.register(equal, evaluation=evaluation(equal, fingerprint="other rows"), run="r3")
    assert (other_rows.version, other_rows.digest) == (2, first.digest)
    for number in (1, 2):  # neither wrote over the other's files
        model = registry.get("toy", number).model
        folder = Path(model.uri[7:])
        verify_files(folder, model.files)
        ModelSession.open(model, folder)
        assert stored_manifest(model.uri).served.digest == model.served.digest


def test_another_variant_that_is_to_be_served_is_another_version_of_the_same_model(
    registry: Registry, models: list[ModelManifest], tmp_path: Path
) -> None:
    small = again(models[0], tmp_path / "small", "onnx-int8")
    assert registry.register(models[0], evaluation=evaluation(models[0]), run="r").version == 1
    version = registry.register(small, evaluation=evaluation(small), run="r")
    assert (version.version, version.digest, version.model.serving) == (2, models[0].digest, "onnx-int8")
    assert registry.diff("toy", 1).facts["serving"] == ("onnx", "onnx-int8")


def test_the_card_shows_every_variant_with_its_speed(registry: Registry, models: list[ModelManifest]) -> None:
    speed = Speed(load_ms=12.0, p50_ms=0.0417, p99_ms=0.1, rows_per_s=23456.0, threads=1)
    parity = Parity(max_abs_diff=3e-4, agreement=0.9, rows=9, passed=False, tolerance=1e-5)
    other = models[0].served.model_copy(update={"name": "int8", "speed": speed, "parity": parity})
    both = models[0].model_copy(update={"variants": [other, *models[0].variants]})
    registry.register(both, evaluation=evaluation(both))
    card = registry.store.get("models/toy/cards/1.md").decode()
    [served, small] = [line for line in card.splitlines() if line.startswith(("| onnx |", "| int8 |"))]
    assert "not measured" in served
    assert "compared with" in served
    for cell in ("3.0e-04 (too far)", "0.0417", "23,456"):
        assert f"| {cell} |" in small
    assert card.index(served) < card.index(small)


def test_writers_at_the_same_time_never_share_a_version(shared: Registry, models: list[ModelManifest]) -> None:
    barrier = threading.Barrier(8)
    numbers: list[int] = []

    def register(i: int) -> None:
        barrier.wait()
        numbers.append(shared.register(models[i % 4], evaluation=evaluation(models[i % 4]), run=f"r{i % 4}").version)

    threads = [threading.Thread(target=register, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(set(numbers)) == shared.versions("toy")
    by_version = {number: shared.get("toy", number) for number in shared.versions("toy")}
    assert [version.version for version in by_version.values()] == sorted(by_version)
    assert {version.digest for version in by_version.values()} == {model.digest for model in models}


def test_a_damaged_file_is_not_registered(registry: Registry, models: list[ModelManifest]) -> None:
    graph = models[0].served.files[0].model_copy(update={"sha256": "0" * 64})
    broken = models[0].served.model_copy(update={"files": [graph]})
    encoder = models[0].encoder.model_copy(update={"sha256": "0" * 64})
    for changed in ({"variants": [broken]}, {"encoder": encoder}):
        with pytest.raises(CorruptArtifact, match="sha256"):
            registry.register(models[0].model_copy(update=changed))
    assert registry.versions("toy") == []


def test_the_records_of_another_model_are_refused(registry: Registry, models: list[ModelManifest]) -> None:
    with pytest.raises(InvalidSpec, match="EvaluationRecord is of model"):
        registry.register(models[0], evaluation=evaluation(models[1]))


def test_a_name_that_would_escape_is_refused(registry: Registry, models: list[ModelManifest]) -> None:
    for name in ("../x", "A b", "", "a/b"):
        with pytest.raises(InvalidSpec, match="cannot name a model"):
            registry.register(models[0].model_copy(update={"name": name}))


def test_versions_are_found_by_number_alias_and_latest(registry: Registry, models: list[ModelManifest]) -> None:
    for model in models[:3]:
        registry.register(model)
    registry.promote("toy", 2)
    for selector, number in ((1, 1), ("1", 1), ("v1", 1), ("latest", 3), ("candidate", 3), ("champion", 2)):
        assert registry.get("toy", selector).version == number
    assert registry.aliases("toy") == {"candidate": 3, "champion": 2}
    assert [(line.version, line.aliases) for line in registry.list()] == [
        (3, ["candidate"]),
        (2, ["champion"]),
        (1, []),
    ]


def test_what_does_not_exist_is_answered_with_what_does(registry: Registry, models: list[ModelManifest]) -> None:
    with pytest.raises(NotFound, match="no model is registered yet"):
        registry.get("toy")
    registry.register(models[0])
    with pytest.raises(NotFound, match=r"known names: toy \(did you mean 'toy'\?\)"):
        registry.get("toi")
    with pytest.raises(NotFound, match="no champion yet; versions: 1"):
        registry.get("toy", "champion")
    with pytest.raises(NotFound, match=r"no version '9{100,}.*; expected"):
        registry.get("toy", "9" * 5000)
    with pytest.raises(NotFound, match="no version 7; expected one of 1, latest, candidate, champion"):
        registry.get("toy", 7)
    with pytest.raises(InvalidSpec, match="did you mean 'champion'"):
        registry.set_alias("toy", "champoin", 1)  # type: ignore[arg-type]


def test_the_history_of_an_alias_is_exact(registry: Registry, models: list[ModelManifest]) -> None:
    for model in models[:3]:
        registry.register(model)
    for number in (1, 2, 2, 3):
        registry.promote("toy", number, reason=f"because {number}", run="r")
    moves = registry.history("toy")
    assert [(move.version, move.previous_version) for move in moves] == [(3, 2), (2, 1), (1, None)]
    assert moves[0].reason == "because 3"


def test_many_writers_of_one_alias_leave_a_whole_history(shared: Registry, models: list[ModelManifest]) -> None:
    for model in models:
        shared.register(model)
    barrier = threading.Barrier(4)

    def promote(number: int) -> None:
        barrier.wait()
        for _ in range(3):
            shared.set_alias("toy", "champion", number)

    threads = [threading.Thread(target=promote, args=(number,)) for number in (1, 2, 3, 4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    moves = shared.history("toy")
    assert moves[0].version == shared.alias("toy", "champion")
    assert [move.previous_version for move in moves] == [*(move.version for move in moves[1:]), None]
    assert {move.version for move in moves} == {1, 2, 3, 4}


def test_the_champion_moves_only_from_where_it_was_seen(shared: Registry, models: list[ModelManifest]) -> None:
    for model in models[:3]:
        shared.register(model)
    none = shared.champion("toy")
    assert (none.sequence, none.version) == (0, None)
    shared.promote("toy", 1, seen=none)
    with pytest.raises(Superseded, match=r"version 1 now, since .*; version 2 was not decided against that"):
        shared.promote("toy", 2, seen=none)
    one = shared.champion("toy")
    shared.promote("toy", 2)
    shared.rollback("toy")
    assert shared.alias("toy", "champion") == 1
    with pytest.raises(Superseded):  # moved away and back is moved
        shared.promote("toy", 3, seen=one)
    with pytest.raises(Superseded):
        shared.rollback("toy", seen=shared.promote("toy", 3) and one)
    assert [move.version for move in shared.history("toy")] == [3, 1, 2, 1]
    assert shared.promote("toy", 3, seen=one).version == 3  # it is the champion: nothing to decide


def test_of_two_who_promote_at_once_one_is_told_that_it_came_second(
    shared: Registry, models: list[ModelManifest]
) -> None:
    for model in models:
        shared.register(model)
    seen, barrier = shared.champion("toy"), threading.Barrier(4)
    told: list[int | None] = []

    def promote(number: int) -> None:
        barrier.wait()
        try:
            told.append(shared.promote("toy", number, seen=seen).version)
        except Superseded:
            told.append(None)

    threads = [threading.Thread(target=promote, args=(number,)) for number in (1, 2, 3, 4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    (won,) = [version for version in told if version is not None]
    assert shared.alias("toy", "champion") == won
    assert len(shared.history("toy")) == 1


def test_a_move_that_is_taken_back_is_no_history_and_no_return_to_what_was_seen(
    shared: Registry, models: list[ModelManifest]
) -> None:
    for model in models[:2]:
        shared.register(model)
    first = shared.move_champion("toy", 1, seen=0, how="deploy", reason="")
    assert shared.take_back(first)
    assert (shared.alias("toy", "champion"), shared.history("toy"), shared.aliases("toy")) == (
        None,
        [],
        {"candidate": 2},
    )
    assert shared.champion("toy").sequence == 2
    with pytest.raises(Superseded, match="it is none now"):
        shared.move_champion("toy", 2, seen=0, reason="")
    assert not shared.take_back(first)
    second = shared.move_champion("toy", 2, seen=2, how="deploy", reason="")
    shared.promote("toy", 1)
    assert not shared.take_back(second)
    assert [move.version for move in shared.history("toy")] == [1, 2]


def test_the_newest_decision_on_a_version_is_kept_beside_the_first(
    shared: Registry, models: list[ModelManifest]
) -> None:
    first = DecisionRecord(
        name="toy", decision="blessed", reason="a", rules=[], challenger_digest=models[0].digest,
        challenger_variant=models[0].served.digest,
    )  # fmt: skip
    version = shared.register(models[0], decision=first)
    again = first.model_copy(update={"reason": "b", "champion_sequence": 3})
    assert shared.register(models[0], decision=again) == version
    assert version.decision == first
    assert shared.decision(version) == again


def test_rolling_back_twice_goes_two_champions_back(shared: Registry, models: list[ModelManifest]) -> None:
    for model in models[:3]:
        shared.register(model)
        shared.promote("toy", "latest")
    shared.store.put("endpoints/toy.json", json.dumps({"name": "toy", "model": "toy", "version": 3}).encode())
    back = shared.rollback("toy")
    assert (back.from_version, back.version, back.redeploy) == (3, 2, ["toy"])
    assert back.message == "champion of toy: version 3 -> 2; redeploy version 2 to toy"
    assert shared.rollback("toy").version == 1
    with pytest.raises(NotFound, match="no champion before version 1"):
        shared.rollback("toy")


def test_a_champion_set_after_a_rollback_is_above_the_one_rolled_back_to() -> None:
    def move(version: int, how: str = "set") -> Move:
        return Move(name="toy", alias="champion", version=version, seal_of_version="", how=how)  # type: ignore[arg-type]

    newest_first = [move(4), move(1, "rollback"), move(3), move(1)]
    assert previous_version(newest_first) == 1
    assert previous_version([move(1, "rollback"), *newest_first]) is None
    assert previous_version([]) is None


def test_a_diff_names_parameters_metrics_labels_and_files(registry: Registry, models: list[ModelManifest]) -> None:
    registry.register(models[0], evaluation=evaluation(models[0], 0.8))
    changed = models[1].model_copy(update={"labels": [*models[1].labels[1:], "intent_new"], "seed": 5})
    registry.register(changed, evaluation=evaluation(changed, 0.9))
    found = registry.diff("toy", 1, 2)
    assert found.params == {"flip": (0.0, 0.1)}
    assert found.metrics["accuracy"] == (0.8, 0.9)
    assert (found.new_labels, found.gone_labels) == (["intent_new"], ["intent_0"])
    assert found.files == {"model.onnx": "changed"}
    assert found.facts == {"seed": (0, 5)}
    assert found.same_test_rows


def test_the_card_is_filled_from_the_records_and_escapes_what_users_wrote(
    registry: Registry, dataset: DatasetManifest, models: list[ModelManifest]
) -> None:
    model = models[0].model_copy(update={"params": {"<b>": "a|b"}})
    record = evaluation(model)
    decision = DecisionRecord(
        name="toy", decision="blessed", reason="all rules pass | really", rules=[], challenger_digest=model.digest,
        challenger_variant=model.served.digest, evaluation_seal=record.seal,
    )  # fmt: skip
    registry.register(model, evaluation=record, decision=decision, dataset=dataset)
    markdown = registry.store.get("models/toy/cards/1.md").decode()
    html = registry.store.get("models/toy/cards/1.html").decode()
    for text in ("# toy, version 1", "## Metrics", "80.0", "95.0", "train 60 rows", "intent\\_0", "a\\|b"):
        assert text in markdown
    assert "<b>" not in markdown
    assert "<b>" not in html.split("<main", 1)[-1].replace("<b>Left", "")
    assert registry.card_uri("toy").endswith("models/toy/cards/1.html")
