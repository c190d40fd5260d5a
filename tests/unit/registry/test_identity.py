"""Nothing is trusted because it lies in the store: each reader finds what was edited before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.artifacts import DatasetManifest, DecisionRecord, EvaluationRecord, ModelManifest, SweepRecord
from shipway.artifacts.model import NOT_IDENTITY
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.promote.decide import decide
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.registry import ModelVersion, Registry
from shipway.registry.reading import content_uri
from shipway.scoring import ModelSession, confirm, stored_manifest
from shipway.storage import Store
from tests.fixtures import toy
from tests.fixtures.tampering import REFERENCE, another, edit, leave_module, swap_variant

FIELDS = sorted(set(ModelManifest.model_fields) - {"kind", "schema_version"})
Edit = Callable[[dict[str, Any]], None]


@dataclass
class World:
    """A model that was trained, evaluated, judged, registered and made champion, in a folder as the store."""

    root: Path
    registry: Registry
    dataset: DatasetManifest
    model: ModelManifest
    evaluation: EvaluationRecord
    decision: DecisionRecord
    version: ModelVersion

    @property
    def manifest(self) -> Path:
        """Of the registry's copy."""
        return Path(self.version.model.uri.removeprefix("file://")) / "manifest.json"

    @property
    def record(self) -> Path:
        return self.root / "models/toy/versions/1.json"


@pytest.fixture
def world(tmp_path: Path) -> World:
    root = tmp_path / "store"
    train = toy.rows(120)
    splits = {"train": train, "eval": toy.rows(40, 1), "test": toy.rows(40, 2)}
    dataset = toy.write_dataset(root / "datasets/d", splits)
    model = toy.write_model(root / "jobs/j/model", dataset, train)
    registry = Registry(Store.open(root.as_uri()))
    spec = EvaluationSpec(baselines=[], bootstrap=0)
    evaluation = measure(model, dataset, spec, store=registry.store, folder=tmp_path)
    decision, _ = decide(model, dataset, evaluation, PromotionPolicy(), registry)
    version = registry.register(model, evaluation=evaluation, decision=decision, dataset=dataset, run="r")
    registry.promote("toy", 1)
    return World(root, registry, dataset, model, evaluation, decision, version)


def change(field: str) -> Edit:
    def apply(document: dict[str, Any]) -> None:
        document[field] = another(document[field])

    return apply


@pytest.mark.parametrize("field", FIELDS)
def test_an_edited_field_of_a_manifest_is_refused_by_whoever_reads_it(field: str, world: World, tmp_path: Path) -> None:
    edit(world.manifest, change(field))
    with pytest.raises(CorruptArtifact, match=r"was edited after it was written"):
        stored_manifest(world.version.model.uri)
    edit(world.root / "jobs/j/model/manifest.json", change(field))
    with pytest.raises(CorruptArtifact, match=r"was edited after it was written"):
        confirm(world.model)
    edit(world.record, lambda document: change(field)(document["model"]))
    for selector in (1, "champion", "latest"):
        with pytest.raises(CorruptArtifact, match=r"was edited after it was written"):
            world.registry.get("toy", selector)


@pytest.mark.parametrize("field", FIELDS)
def test_whoever_seals_an_edited_manifest_anew_meets_the_digest_that_is_pinned(field: str, world: World) -> None:
    try:
        changed = ModelManifest.from_json(_edited(world.manifest, change(field)))
    except CorruptArtifact:
        return  # not even a manifest
    assert (changed.digest == world.version.digest) == (field in NOT_IDENTITY)
    if field == "uri":
        with pytest.raises(CorruptArtifact, match="names the files at"):
            stored_manifest(world.version.model.uri)
    elif field not in NOT_IDENTITY:
        with pytest.raises(InvalidSpec, match="gate: the evaluation is of model"):
            decide(changed, world.dataset, world.evaluation, PromotionPolicy(), world.registry)
        with pytest.raises(InvalidSpec, match=r"EvaluationRecord is of model|cannot name a model"):
            world.registry.register(changed, evaluation=world.evaluation, decision=world.decision)
        with pytest.raises(CorruptArtifact, match="one of the two was replaced"):
            confirm(changed.model_copy(update={"uri": world.model.uri}))


def _edited(path: Path, change: Edit) -> str:
    edit(path, change, resealed=True)
    return path.read_text(encoding="utf-8")


def test_the_identity_is_a_whole_sha256_and_knows_fields_that_it_has_never_seen(world: World) -> None:
    assert len(world.model.digest) == 64
    document = world.model.model_dump(mode="json")
    assert ModelManifest.model_validate(document).digest == world.model.digest
    assert ModelManifest.model_validate({**document, "of_a_later_version": 1}).digest != world.model.digest


def test_a_swapped_variant_keeps_the_models_digest_and_meets_its_own_at_every_hand_over(
    world: World, tmp_path: Path
) -> None:
    """Its file is another model's, and its manifest says so, sealed anew."""
    other = toy.write_model(tmp_path / "other", world.dataset, toy.rows(120), flip=0.5)
    graph = (tmp_path / "other/model.onnx").read_bytes()
    swapped = swap_variant(world.root / "jobs/j/model", graph)
    assert swapped.digest == world.model.digest
    assert swapped.served.files == other.served.files
    with pytest.raises(CorruptArtifact, match=r"served variant of digest .* one of the two was replaced"):
        confirm(world.model)
    ModelSession.open(swapped, cache=tmp_path / "cache")  # its files are as it says: the pins are all that finds it
    with pytest.raises(InvalidSpec, match="gate: the evaluation is of variant"):
        decide(swapped, world.dataset, world.evaluation, PromotionPolicy(), world.registry)
    for records in ({"evaluation": world.evaluation}, {"decision": world.decision}):
        with pytest.raises(InvalidSpec, match=r"register: the \w+Record is of variant"):
            world.registry.register(swapped, **records)  # type: ignore[arg-type]
    of_it = world.evaluation.model_copy(update={"variant_digest": swapped.served.digest})
    with pytest.raises(CorruptArtifact, match="not the one that the decision was made on"):
        world.registry.register(swapped, evaluation=of_it, decision=world.decision)


def test_a_variant_that_is_added_behind_the_gate_is_registered_with_the_model(world: World, tmp_path: Path) -> None:
    """It lies in a folder of its own, with all that the model had; what is served is what was judged."""
    folder = world.root / "optimized/model"
    for file in world.model.files:
        toy.write_bytes(folder, file.path, (world.root / "jobs/j/model" / file.path).read_bytes())
    small = toy.variant("onnx-int8", "int8.onnx", toy.write_bytes(folder, "int8.onnx", b"small"), format="onnx")
    more = world.model.model_copy(update={"uri": folder.as_uri(), "variants": [*world.model.variants, small]})
    more.write(folder / "manifest.json")
    confirm(more)
    registry = Registry(Store.open((tmp_path / "another").as_uri()))
    version = registry.register(more, evaluation=world.evaluation, decision=world.decision)
    assert (version.digest, version.model.serving) == (world.model.digest, "onnx")
    assert [variant.name for variant in version.model.variants] == ["onnx", "onnx-int8"]
    assert Store.open(version.model.uri).get("int8.onnx") == b"small"
    # Where the model is registered already, that version stays as it is: aliases pin its document.
    assert world.registry.register(more, evaluation=world.evaluation, decision=world.decision) == world.version


def test_a_version_whose_variant_was_swapped_in_all_its_documents_is_not_the_champions(world: World) -> None:
    """Only the alias pins what hangs together, was moved to its place and was sealed anew."""
    graph = toy._onnx(np.zeros((90, 4), dtype=np.float32))
    copy = world.manifest.parent
    swapped = swap_variant(copy, graph)
    with pytest.raises(CorruptArtifact, match="its manifest says"):
        ModelSession.open(world.version.model, copy)
    place = content_uri(world.registry.store, swapped)

    def change(document: dict[str, Any]) -> None:
        document["model"].update(variants=swapped.model_dump(mode="json")["variants"], uri=place)
        document["evaluation"].update(variant_digest=swapped.served.digest)
        document["decision"].update(challenger_variant=swapped.served.digest)

    edit(world.record, change, resealed=True)
    assert world.registry.get("toy", 1).model.served.digest == swapped.served.digest
    with pytest.raises(CorruptArtifact, match="is not the document that champion of toy was set to"):
        world.registry.get("toy", "champion")


VERSION_EDITS: dict[str, Edit] = {
    "another recipe": lambda d: d["model"].update(recipe=REFERENCE),
    "another model's digest": lambda d: d.update(digest="0" * 64),
    "another place": lambda d: d["model"].update(uri="s3://elsewhere/model"),
    "another name": lambda d: d.update(name="bot"),
    "another number": lambda d: d.update(version=2),
    "an evaluation of another model": lambda d: d["evaluation"].update(model_digest="0" * 64),
    "a decision on another model": lambda d: d["decision"].update(challenger_digest="0" * 64),
    "temperature": lambda d: d["model"].update(temperature=9.0),
    "other weights": lambda d: d["model"].update(weights="0" * 64),
    "another file of its variant": lambda d: d["model"]["variants"][0]["files"][0].update(sha256="0" * 64),
    "another tolerance of its variant": lambda d: d["model"]["variants"][0].update(tolerance=1.0),
    "an evaluation of another variant": lambda d: d["evaluation"].update(variant_digest="0" * 64),
    "a decision on another variant": lambda d: d["decision"].update(challenger_variant="0" * 64),
}


@pytest.mark.parametrize("what", sorted(VERSION_EDITS))
def test_an_edited_version_that_does_not_hang_together_is_refused_though_it_was_sealed_anew(
    what: str, world: World
) -> None:
    edit(world.record, VERSION_EDITS[what], resealed=True)
    with pytest.raises(CorruptArtifact, match="the version was edited"):
        world.registry.get("toy", 1)
    [line] = world.registry.list("toy")  # the others would still be listed
    assert "the version was edited" in line.error


def test_an_alias_pins_the_whole_document_of_its_version(world: World) -> None:
    edit(world.record, lambda document: document["evaluation"]["settings"].update(threshold=0.0), resealed=True)
    world.registry.get("toy", 1)  # hangs together
    with pytest.raises(CorruptArtifact, match="is not the document that champion of toy was set to"):
        world.registry.get("toy", "champion")
    world.registry.promote("toy", 1)  # a person looked at it
    assert world.registry.get("toy", "champion").version == 1


def test_an_alias_that_points_at_the_move_of_another_names_nothing(world: World) -> None:
    """A version that is only a candidate would be served; or, of another name, another model."""
    pointers = world.root / "models/toy/aliases"
    (pointers / "champion.json").write_bytes((pointers / "candidate.json").read_bytes())
    with pytest.raises(CorruptArtifact, match="it moves candidate of toy, and champion of toy points at it"):
        world.registry.get("toy", "champion")
    target = world.registry.champion("toy", to_move=True)
    assert target.move is None  # and can be set anew
    world.registry.promote("toy", 1)
    world.registry.store.put("models/other/versions/1.json", world.record.read_bytes())
    world.registry.store.put("models/other/aliases/champion.json", (pointers / "champion.json").read_bytes())
    with pytest.raises(CorruptArtifact, match="it moves champion of toy, and champion of other points at it"):
        world.registry.get("other", "champion")


def test_a_decision_about_another_model_is_not_read_as_the_versions(world: World) -> None:
    other = world.decision.model_copy(update={"challenger_digest": "0" * 64, "champion_sequence": 99})
    world.registry.store.put("models/toy/decisions/1.json", other.to_json().encode())
    with pytest.raises(CorruptArtifact, match=r"decisions/1\.json: it is about model 000"):
        world.registry.decision(world.version)


def test_a_decision_holds_for_the_evaluation_that_it_was_made_on(world: World) -> None:
    better = world.evaluation.model_copy(update={"metrics": {**world.evaluation.metrics, "accuracy": 1.0}})
    with pytest.raises(CorruptArtifact, match="not the one that the decision was made on"):
        world.registry.register(world.model, evaluation=better, decision=world.decision)


def test_documents_of_an_earlier_shipway_are_refused_and_a_name_can_begin_anew(world: World) -> None:
    moves = [*(world.root / "models/toy/aliases/moves").iterdir()]
    for path in (world.record, *moves):
        edit(path, lambda document: document.pop("seal"))
    with pytest.raises(CorruptArtifact, match="an earlier Shipway wrote it"):
        world.registry.get("toy", 1)
    with pytest.raises(CorruptArtifact, match="shipway models unset NAME"):
        decide(world.model, world.dataset, world.evaluation, PromotionPolicy(), world.registry)
    assert world.registry.unset_alias("toy")
    decision, champion = decide(world.model, world.dataset, world.evaluation, PromotionPolicy(), world.registry)
    assert champion.state == "none"
    again = world.registry.register(world.model, evaluation=world.evaluation, decision=decision, run="r2")
    world.registry.promote("toy", again.version)
    assert (again.version, world.registry.get("toy", "champion").version) == (2, 2)
    assert [line.error != "" for line in world.registry.list("toy")] == [False, True]


@pytest.mark.parametrize("kind", [DatasetManifest, EvaluationRecord, DecisionRecord, SweepRecord])
def test_what_steps_hand_on_is_refused_when_a_field_was_edited(kind: Any, tmp_path: Path) -> None:
    names = {
        DatasetManifest: "dataset",
        EvaluationRecord: "evaluation",
        DecisionRecord: "decision",
        SweepRecord: "sweep",
    }
    source = Path(__file__).parents[2] / f"fixtures/reports/{names[kind]}.json"
    document = kind.read(source)
    for field in kind.model_fields:
        if field == "kind":
            continue
        path = tmp_path / f"{field}.json"
        document.write(path)
        edit(path, change(field))
        with pytest.raises(CorruptArtifact):
            kind.read(path)


def test_a_recipe_that_a_stored_manifest_names_is_imported_only_where_somebody_allows_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = leave_module(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    edit(world.root / "jobs/j/model/manifest.json", lambda d: d.update(recipe=REFERENCE), resealed=True)
    evil = stored_manifest(world.model.uri)
    spec = EvaluationSpec(baselines=[], bootstrap=0)
    with pytest.raises(InvalidSpec, match=rf"names the recipe '{REFERENCE}'.* SHIPWAY_RECIPES={REFERENCE}"):
        measure(evil, world.dataset, spec, store=world.registry.store, folder=tmp_path)
    with pytest.raises(InvalidSpec, match="not allowed here"):
        ModelSession.open(evil, Path(world.model.uri.removeprefix("file://")))
    assert not mark.exists()
    ModelSession.open(evil, Path(world.model.uri.removeprefix("file://")), recipes=[REFERENCE])
    assert mark.exists()


def test_a_champion_of_a_recipe_that_nobody_named_is_not_loaded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHIPWAY_RECIPES")
    train = toy.rows(120)
    other = toy.write_model(world.root / "jobs/j2/model", world.dataset, train, flip=0.5)
    pins = {"model_digest": other.digest, "variant_digest": other.served.digest}
    record = world.evaluation.model_copy(update=pins)
    with pytest.raises(InvalidSpec, match=r"tests\.fixtures\.toy:recipe.*not allowed"):
        decide(other, world.dataset, record, PromotionPolicy(), world.registry)
    decide(other, world.dataset, record, PromotionPolicy(recipes=[toy.REFERENCE]), world.registry)
