from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest

from shipway.artifacts import DatasetManifest, DecisionRecord, EvaluationRecord, ModelManifest
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.promote.comparison import Champion
from shipway.components.promote.decide import decide
from shipway.components.promote.html import decision_report
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.registry import Registry
from shipway.scoring import ModelSession
from shipway.specs import parse
from shipway.storage import Store, open_folder
from tests.fixtures import toy

# Toy rows share their words, so that the linear SVM is no rival worth having here.
POLICY = parse(PromotionPolicy, "baselines: {must_not_lose_to: [majority]}", "promotion")
SPEC = EvaluationSpec(baselines=["majority"], bootstrap=100)


@dataclass
class World:
    """A name with its datasets and models; each test has a registry of its own."""

    root: Path
    train: pl.DataFrame
    dataset: DatasetManifest
    good: ModelManifest
    bad: ModelManifest
    registry: Registry

    def evaluate(self, model: ModelManifest, dataset: DatasetManifest | None = None) -> EvaluationRecord:
        folder = self.root / "scratch"
        folder.mkdir(exist_ok=True)
        return measure(model, dataset or self.dataset, SPEC, store=self.registry.store, folder=folder)

    def reign(self, model: ModelManifest) -> None:
        self.registry.register(model)
        self.registry.promote("toy", "candidate")

    def decide(
        self, model: ModelManifest, dataset: DatasetManifest | None = None, policy: PromotionPolicy = POLICY
    ) -> tuple[DecisionRecord, Champion]:
        data = dataset or self.dataset
        return decide(model, data, self.evaluate(model, data), policy, self.registry)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame, DatasetManifest, list[ModelManifest]]:
    root = tmp_path_factory.mktemp("decide")
    train = toy.rows(600)
    splits = {"train": train, "eval": toy.rows(60, 1), "test": toy.rows(300, 2)}
    dataset = toy.write_dataset(root / "dataset", splits)
    made = [toy.write_model(root / f"model-{flip}", dataset, train, flip=flip) for flip in (0.0, 0.8)]
    return root, train, dataset, made


@pytest.fixture
def world(
    models: tuple[Path, pl.DataFrame, DatasetManifest, list[ModelManifest]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    root, train, dataset, (good, bad) = models
    monkeypatch.setenv("SHIPWAY_HOME", str(root / "home"))
    return World(tmp_path, train, dataset, good, bad, Registry(Store.open((tmp_path / "store").as_uri())))


def test_the_first_model_is_blessed_on_its_own_figures_and_the_record_is_kept(world: World) -> None:
    record, champion = world.decide(world.good)
    assert (record.decision, champion.state, record.champion_version) == ("blessed", "none", None)
    assert record.reason.endswith("there is no champion of toy yet")
    assert record.uri is not None
    key = record.uri.removeprefix(f"{world.registry.store.uri}/")
    assert DecisionRecord.from_json(world.registry.store.get(f"{key}/record.json")) == record
    assert b"Blessed" in world.registry.store.get(f"{key}/report.html")


def test_a_worse_challenger_is_rejected_with_the_numbers_of_both(world: World) -> None:
    world.reign(world.good)
    record, champion = world.decide(world.bad)
    assert (record.decision, record.champion_version) == ("rejected", 1)
    assert champion.all is not None
    assert champion.shared == champion.all
    accuracy = champion.all.metrics["accuracy"]
    session = ModelSession.open(world.good)
    test = toy.rows(300, 2)
    answers = np.array(session.labels)[
        np.asarray(session.predict(test["text"].to_list())["probabilities"]).argmax(axis=1)
    ]
    assert accuracy["champion"] == pytest.approx((answers == test["label"].to_numpy()).mean())
    assert accuracy["difference"] < -0.01
    assert "accuracy no worse than the champion's by more than 0.01" in record.reason
    assert 0 < len(champion.lost) <= 20
    html = decision_report(record, champion, world.evaluate(world.good)).render()
    assert "Rejected" in html
    assert "McNemar" in html


def test_a_better_challenger_is_blessed_and_says_so(world: World) -> None:
    world.reign(world.bad)
    policy = parse(PromotionPolicy, {"champion": {"better_than": [{"confident": True}]}, "baselines": {"margin": 1}})
    record, champion = world.decide(world.good, policy=policy)
    assert record.decision == "blessed"
    assert "of the champion (version 1) on the same 300 rows" in record.reason
    assert champion.all is not None
    assert champion.all.p_value < 0.05


def test_the_champion_itself_is_not_compared_with_itself(world: World) -> None:
    world.reign(world.good)
    record, champion = world.decide(world.good)
    assert (record.decision, champion.state) == ("blessed", "same")


@pytest.mark.parametrize(
    ("name", "answers_as", "state", "decision"),
    [
        ("onnx", "good", "same", "blessed"),
        ("onnx", "bad", "compared", "rejected"),
        ("onnx-int8", "good", "compared", "blessed"),
        ("onnx-int8", "bad", "compared", "rejected"),
    ],
)
def test_an_equal_training_is_the_champion_only_where_it_answers_as_well_by_the_same_variant(
    world: World, name: str, answers_as: str, state: str, decision: str
) -> None:
    """What states the champion's weights may be served by other bytes: those are what is judged."""
    world.registry.register(world.good, evaluation=world.evaluate(world.good))
    world.registry.promote("toy", 1)
    folder = world.root / "variant"
    toy.write_bytes(folder, "encoder.json", (Path(world.good.uri[7:]) / "encoder.json").read_bytes())
    graph = onnx.load(str(Path(getattr(world, answers_as).uri[7:]) / "model.onnx"))
    graph.producer_name = "another day"
    file = toy.write_bytes(folder, "model.onnx", graph.SerializeToString())
    variant = toy.variant(name, "model.onnx", file, format="onnx")
    model = world.good.model_copy(update={"uri": folder.as_uri(), "variants": [variant], "serving": name})
    assert model.digest == world.good.digest
    assert model.served.digest != world.good.served.digest
    record, champion = world.decide(model)
    assert (champion.state, record.decision) == (state, decision)


def test_deciding_again_gives_the_same_decision_in_the_same_place(world: World) -> None:
    world.reign(world.bad)
    first, second = world.decide(world.good)[0], world.decide(world.good)[0]
    moments = {"created_at", "seal", "evaluation_seal"}  # each evaluation has its own time, which its seal covers
    assert first.model_dump(exclude=moments) == second.model_dump(exclude=moments)


def test_label_sets_that_differ_are_named_and_compared_on_the_shared_ones_and_on_all(world: World) -> None:
    world.reign(world.good)
    added = pl.DataFrame(
        {"text": ["brand new words"] * 40, "label": "intent_new", "group": [f"n{i}" for i in range(40)],
         "source": "app"}
    ).with_columns(row_id=pl.int_range(1000, 1040))  # fmt: skip
    kept = world.train.filter(pl.col("label") != "intent_3")
    train = pl.concat([kept, added.select(kept.columns)])
    test = pl.concat([toy.rows(300, 9), added.with_columns(row_id=pl.col("row_id") + 100).select(kept.columns)])
    splits = {"train": train, "test": test.with_columns(group=pl.lit("t") + pl.col("group"))}
    dataset = toy.write_dataset(world.root / "second", splits)
    model = toy.write_model(world.root / "challenger", dataset, train)
    record, champion = world.decide(model, dataset)
    assert (champion.state, champion.new_labels, champion.gone_labels) == ("compared", ["intent_new"], ["intent_3"])
    assert champion.shared is not None
    assert champion.all is not None
    assert champion.shared.rows == sum(test["label"].is_in(["intent_0", "intent_1", "intent_2"]))
    assert champion.all.rows == 340
    # The champion answers no row of the new label, the challenger none of the one that is gone.
    assert champion.all.metrics["accuracy"]["champion"] < champion.shared.metrics["accuracy"]["champion"]
    assert record.comparison["new_labels"] == ["intent_new"]
    html = decision_report(record, champion, world.evaluate(world.good)).render()
    assert "Labels that only the challenger knows: intent_new." in html
    assert "Rows whose labels both know" in html


@pytest.mark.parametrize(("if_leaked", "decision"), [("skip", "blessed"), ("reject", "rejected")])
def test_a_champion_trained_on_some_of_the_test_rows_is_said_so_and_not_compared(
    world: World, if_leaked: str, decision: str
) -> None:
    world.reign(world.bad)
    splits = {"train": toy.rows(300, 5), "test": pl.concat([toy.rows(90, 6), world.train[:30]])}
    dataset = toy.write_dataset(world.root / "overlapping", splits)
    model = toy.write_model(world.root / "challenger", dataset, splits["train"])
    policy = POLICY.model_copy(update={"champion": POLICY.champion.model_copy(update={"if_leaked": if_leaked})})
    record, champion = world.decide(model, dataset, policy)
    assert (champion.state, champion.leaked_groups, champion.all) == ("leaked", 10, None)
    assert record.decision == decision
    assert "was trained on 10 groups of these test rows" in record.reason
    assert "The champion was not compared" in decision_report(record, champion, world.evaluate(world.good)).render()


def test_other_rows_of_the_champions_name_are_compared_when_no_group_is_shared(world: World) -> None:
    world.reign(world.bad)
    splits = {"train": toy.rows(300, 5), "test": toy.rows(90, 6)}
    dataset = toy.write_dataset(world.root / "disjoint", splits)
    model = toy.write_model(world.root / "challenger", dataset, splits["train"])
    assert world.decide(model, dataset)[1].state == "compared"


@pytest.mark.parametrize("how", ["gone", "grouped otherwise", "no hashes"])
def test_where_a_leak_cannot_be_told_the_champion_is_not_compared(world: World, how: str) -> None:
    first = toy.write_dataset(world.root / "first", {"train": world.train, "test": toy.rows(30, 3)})
    if how == "grouped otherwise":
        first.model_copy(update={"group_column": None}).write(world.root / "first" / "manifest.json")
    if how == "gone":
        (world.root / "first" / "manifest.json").unlink()
    world.reign(world.bad.model_copy(update={"dataset_uri": first.uri, "dataset_fingerprint": first.fingerprint}))
    dataset = toy.write_dataset(world.root / "second", {"train": toy.rows(200, 5), "test": toy.rows(60, 6)})
    if how == "no hashes":
        part = dataset.splits["test"].model_copy(update={"group_hashes": None})
        dataset = dataset.model_copy(update={"splits": {**dataset.splits, "test": part}})
    model = toy.write_model(world.root / "challenger", dataset, toy.rows(200, 5))
    record, champion = world.decide(model, dataset)
    assert champion.state == "unknown"
    assert "unknown" in record.reason


def test_an_evaluation_of_another_model_or_a_changed_matrix_is_refused(world: World) -> None:
    evaluation = world.evaluate(world.good)
    with pytest.raises(InvalidSpec, match="the evaluation is of model"):
        decide(world.bad, world.dataset, evaluation, POLICY, world.registry)
    other = world.dataset.model_copy(update={"fingerprint": "other"})
    with pytest.raises(InvalidSpec, match="the evaluation is of dataset"):
        decide(world.good, other, evaluation, POLICY, world.registry)
    world.registry.store.put(
        f"{evaluation.uri.removeprefix(world.registry.store.uri + '/')}/confusion.json", b'{"labels":[],"counts":[]}'
    )
    with pytest.raises(CorruptArtifact, match=r"confusion\.json: was changed"):
        decide(world.good, world.dataset, evaluation, POLICY, world.registry)


def test_a_champion_whose_file_was_changed_is_an_error_not_a_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reign(world.bad)
    monkeypatch.setenv("SHIPWAY_HOME", str(world.root / "fresh"))
    open_folder(world.registry.get("toy", "champion").model.uri).put("model.onnx", b"something else")
    with pytest.raises(CorruptArtifact, match=r"model\.onnx"):
        world.decide(world.good)
