"""A tagger goes through evaluation, the gate, the registry, its card and the screens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.components.evaluate import launch
from shipway.components.evaluate.html import evaluation_report
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.promote.decide import decide
from shipway.components.promote.html import decision_report
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import InvalidSpec
from shipway.inputs import load_input
from shipway.registry import Registry
from shipway.registry.card import card_markdown
from shipway.scoring.predictions import read_columns
from shipway.specs import parse
from shipway.storage import Store
from shipway.tasks import load_task
from shipway.tasks.spans import spans as cells
from shipway.tasks.spans.evaluation import details_of
from shipway.tasks.spans.figures import KINDS
from shipway.tasks.stored import reader
from tests.fixtures import named

SPEC = EvaluationSpec(slices=["prefix"], bootstrap=100, recipes=[named.REFERENCE])
task = load_task("spans")


@dataclass
class World:
    root: Path
    registry: Registry
    test: pl.DataFrame
    dataset: DatasetManifest
    good: ModelManifest
    poor: ModelManifest

    def evaluate(self, model: ModelManifest, spec: EvaluationSpec = SPEC) -> EvaluationRecord:
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        return measure(model, self.dataset, spec, store=self.registry.store, folder=scratch)

    def decide(
        self, model: ModelManifest, policy: dict[str, Any] | None = None, record: EvaluationRecord | None = None
    ) -> Any:
        wanted = parse(PromotionPolicy, {"recipes": [named.REFERENCE], **(policy or {})}, "promotion")
        return decide(model, self.dataset, record or self.evaluate(model), wanted, self.registry)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHIPWAY_RECIPES", raising=False)
    train, test = named.rows(300), named.rows(150, 2)
    strange = pl.DataFrame(
        {
            "row_id": [900, 901],
            "text": ["meet ana at two", "🇨🇭 call ana"],
            "label": ['[[5,8,"person"],[12,15,"number"]]', '[[8,11,"person"]]'],
            "group": ["strange", "strange"],
            "prefix": ["plain", "other"],
        }
    )
    test = pl.concat([test, strange])
    dataset = named.write_dataset(tmp_path / "dataset", {"train": train, "test": test})
    good = named.write_model(tmp_path / "good", dataset, train)
    poor = named.write_model(tmp_path / "poor", dataset, train, forget=0.6)
    return World(tmp_path, Registry(Store.open((tmp_path / "store").as_uri())), test, dataset, good, poor)


def kept(world: World, record: EvaluationRecord) -> pl.DataFrame:
    path = world.root / "kept.parquet"
    world.registry.store.download(
        f"{record.uri}/predictions.parquet".removeprefix(f"{world.registry.store.uri}/"), path
    )
    return pl.read_parquet(path)


def test_figures_are_those_of_the_kept_spans(world: World) -> None:
    record = world.evaluate(world.good)
    rows = kept(world, record)
    true, ours = ([set(cells.parse(cell)) for cell in rows[name]] for name in ("label", "predicted"))
    right = sum(len(a & b) for a, b in zip(true, ours, strict=True))
    assert record.metrics["recall"] == pytest.approx(right / sum(map(len, true)))
    assert record.metrics["precision"] == pytest.approx(right / sum(map(len, ours)))
    assert 0.5 < record.metrics["f1"] < 1
    assert [info.name for info in record.shown] == list(task.metrics)
    assert set(record.intervals) == set(task.metrics)
    assert record.intervals["f1"].low < record.metrics["f1"] < record.intervals["f1"].high
    assert {part.value for part in record.slices} == {"plain", "other"}
    baseline, linear = record.baselines
    assert (linear.name, linear.title) == ("perceptron", "averaged perceptron")
    assert linear.metrics["f1"] > 0.9
    assert (baseline.name, baseline.title) == ("dictionary", "dictionary of the training spans")
    assert baseline.metrics["f1"] > 0.9  # every span of these rows is in a dictionary
    assert baseline.model_loses
    assert (record.task, record.labels, record.settings) == ("spans", ["number", "room", "song"], {})
    columns = read_columns(rows, record.columns)
    assert list(columns) == ["starts", "ends", "types", "scores"]
    first = columns["starts"].row(0)  # type: ignore[union-attr]
    assert first.tolist() == [span.start for span in cells.parse(rows["predicted"][0])]


def test_mistakes_add_up_and_have_examples(world: World) -> None:
    record = world.evaluate(world.good)
    details = details_of(record)
    counts = details.mistakes
    assert details.right + sum(counts[kind] for kind in KINDS if kind != "invented") == details.spans
    assert details.right + sum(counts[kind] for kind in KINDS if kind != "missed") == details.predicted
    assert details.unknown_types == {"person": 2}
    assert details.worst[0].count == max(mistake.count for mistake in details.worst)
    assert any("[ana]" in example for mistake in details.worst for example in mistake.examples)
    bounds = [mistake for mistake in details.worst if mistake.kind == "other bounds"]
    assert "[the {news}]" in " ".join(bounds[0].examples)  # "the" is outside nearly always
    for one in details.per_type:
        assert sum(count for kind, count in one.mistakes.items() if kind != "invented") == pytest.approx(
            one.support * (1 - one.recall)
        )
    labels, matrix = task.evaluation.matrix(record, reader(record))  # type: ignore[misc]
    assert labels == ["number", "room", "song", "person", "(none)"]
    assert np.array(matrix)[:-1].sum() == details.spans
    assert np.array(matrix)[:, :-1].sum() == details.predicted


def test_pages_cards_and_screens_speak_of_spans(world: World) -> None:
    world.registry.register(world.poor, evaluation=world.evaluate(world.poor))
    world.registry.promote("slots", "candidate")
    record = world.evaluate(world.good)
    decision, met = world.decide(world.good, record=record)
    version = world.registry.register(world.good, evaluation=record, decision=decision)
    page = evaluation_report(record, task, reader(record)).render()
    for words in ("Entity F1", "How it errs", "Type by type", "other bounds", "spans exactly", "person (2)", "[ana]"):
        assert words in page, words
    card = card_markdown(version)
    for words in (
        "Task spans",
        "Entity F1",
        "Least recall: person (0.0 % of 2)",
        "Mistakes most often: song with other bounds (",
    ):
        assert words in card, words
    assert "f1 no worse than the champion" in decision_report(decision, met, record).render()
    assert record.facts["mistakes"] == details_of(record).mistakes
    assert json.dumps(record.facts)


def test_a_model_without_a_mistake_has_a_page_too(world: World) -> None:
    test = world.test.filter(pl.col("label") == "[]")
    dataset = named.write_dataset(world.root / "none", {"train": named.rows(300), "test": test})
    scratch = world.root / "scratch-2"
    scratch.mkdir()
    record = measure(world.good, dataset, SPEC, store=world.registry.store, folder=scratch)
    assert record.metrics["exact_rows"] == 1
    assert "Finds 0 of 0 spans exactly" in record.headline[0]
    assert evaluation_report(record, task, reader(record)).render()
    assert record.limits == []


def test_the_gate_compares_row_by_row_with_the_champion(world: World) -> None:
    world.registry.register(world.poor, evaluation=world.evaluate(world.poor))
    world.registry.promote("slots", "candidate")
    lenient = {"baselines": {"must_not_lose_to": []}}
    decision, met = world.decide(world.good, {**lenient, "champion": {"better_than": [{"confident": True}]}})
    assert (decision.decision, met.state) == ("blessed", "compared"), decision.reason
    assert met.all.metrics["f1"]["difference"] > 0.05
    world.registry.register(world.good, evaluation=world.evaluate(world.good))
    world.registry.promote("slots", "candidate")
    decision, _ = world.decide(world.poor, lenient)
    assert decision.decision == "rejected"
    assert "f1 no worse than the champion's" in decision.reason


@pytest.mark.parametrize(
    ("floors", "passes", "says"),
    [
        ({"recall": 0.3, "min_support": 3}, True, "1 types with fewer than 3 spans are not judged"),
        ({"recall": 0.3, "min_support": 1}, False, "below: person 0.000"),
        ({"precision": 0.6}, True, "precision of every type at least 0.6"),
        ({"types": {"number": 0.9}}, True, "recall of number at least 0.9"),
        ({"types": {"person": 0.1}}, False, "recall of person at least 0.1"),
        ({"types": {"rom": 0.1}}, False, "no test row has a span of it (did you mean 'room'?)"),
    ],
)
def test_rules_on_types_decide(world: World, floors: dict[str, Any], passes: bool, says: str) -> None:
    decision, _ = world.decide(world.good, {"task": {"type_floors": floors}, "baselines": {"must_not_lose_to": []}})
    assert decision.decision == ("blessed" if passes else "rejected"), decision.reason
    assert says in json.dumps([rule.model_dump() for rule in decision.rules], ensure_ascii=False)


def test_a_setting_that_spans_do_not_have_is_one_clear_line(world: World) -> None:
    with pytest.raises(InvalidSpec, match=r"promotion\.task\.class_floors: unknown field; expected one of type_floors"):
        world.decide(world.good, {"task": {"class_floors": {}}})
    with pytest.raises(InvalidSpec, match=r"unknown baseline 'majority'; expected one of dictionary"):
        world.evaluate(world.good, SPEC.model_copy(update={"baselines": ["majority"]}))


def test_the_component_leaves_the_matrix_of_types(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_STORE", world.registry.store.uri)
    world.good.write(world.root / "good/manifest.json")
    world.dataset.write(world.root / "dataset/manifest.json")
    shown: list[Any] = []
    logs = {"log_metric": lambda *_: None, "log_confusion_matrix": lambda *given: shown.append(given)}
    outputs = {
        name: SimpleNamespace(path=str(world.root / "out" / name), **logs)
        for name in ("evaluation", "confusion", "metrics", "report")
    }
    inputs = {
        name: SimpleNamespace(path=str(world.root / where / "manifest.json"))
        for name, where in {"model": "good", "dataset": "dataset"}.items()
    }
    launch.evaluate(**inputs, **outputs, spec=SPEC.model_dump_json())
    [(names, counts)] = shown
    assert (names[-1], len(counts)) == ("(none)", 5)


def test_the_dictionary_takes_the_longest_words_that_it_knows() -> None:
    text, kind = load_input("text"), task.evaluation
    train = pl.DataFrame(
        {
            "text": ["in New York", "new things", "to York now", "york said York"],
            "label": ['[[3,11,"city"]]', '[[0,3,"age"]]', '[[3,7,"city"]]', '[[0,4,"person"],[10,14,"person"]]'],
        }
    )
    found = kind.fit_baseline("dictionary", text, train, 0)
    assert found is not None
    rows = pl.DataFrame({"text": ["👩‍👧 new  york, York NEW", "newyork", ""], "label": ["[]"] * 3})
    assert found.predict([rows[:1], rows[1:]])["predicted"].to_list() == [
        '[[4,13,"city"],[15,19,"person"],[20,23,"age"]]',
        "[]",
        "[]",
    ]
    assert kind.fit_baseline("dictionary", text, train.with_columns(label=pl.lit("[]")), 0) is None
