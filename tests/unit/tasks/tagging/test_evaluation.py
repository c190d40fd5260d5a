"""A recipe that names the task `tagging` goes through evaluation, the gate, the registry and its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.components.evaluate.html import evaluation_report
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.promote.decide import decide
from shipway.components.promote.html import decision_report
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import InvalidSpec
from shipway.registry import Registry
from shipway.registry.card import card_markdown
from shipway.scoring.predictions import read_columns
from shipway.specs import parse
from shipway.storage import Store
from shipway.tasks import load_task
from shipway.tasks.stored import reader
from shipway.tasks.tagging.evaluation import details_of
from tests.fixtures import tagged

TASK = load_task("tagging")
SPEC = EvaluationSpec(slices=["source"], bootstrap=200, recipes=[tagged.REFERENCE])


@dataclass
class World:
    root: Path
    registry: Registry
    train: pl.DataFrame
    test: pl.DataFrame
    dataset: DatasetManifest
    good: ModelManifest

    def evaluate(self, model: ModelManifest, spec: EvaluationSpec = SPEC) -> EvaluationRecord:
        (self.root / "scratch").mkdir(exist_ok=True)
        return measure(model, self.dataset, spec, store=self.registry.store, folder=self.root / "scratch")

    def decide(
        self, model: ModelManifest, policy: dict[str, Any] | None = None, record: EvaluationRecord | None = None
    ) -> Any:
        wanted = parse(PromotionPolicy, {"recipes": [tagged.REFERENCE], **(policy or {})}, "promotion")
        return decide(model, self.dataset, record or self.evaluate(model), wanted, self.registry)

    def kept(self, record: EvaluationRecord) -> pl.DataFrame:
        path = self.root / "kept.parquet"
        self.registry.store.download(
            f"{record.uri}/predictions.parquet".removeprefix(f"{self.registry.store.uri}/"), path
        )
        return pl.read_parquet(path)


def world_of(root: Path, test: pl.DataFrame, eval_rows: pl.DataFrame | None = None) -> World:
    train = tagged.rows(400)
    splits = {"train": train, "test": test} | ({} if eval_rows is None else {"eval": eval_rows})
    dataset = tagged.write_dataset(root / "dataset", splits)
    good = tagged.write_model(root / "good", dataset, train)
    return World(root, Registry(Store.open((root / "store").as_uri())), train, test, dataset, good)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHIPWAY_RECIPES", raising=False)
    return world_of(tmp_path, tagged.rows(200, 2), tagged.rows(100, 1))


def hot(labels: pl.Series, tags: list[str]) -> np.ndarray[Any, Any]:
    return np.array([[tag in json.loads(label) for tag in tags] for label in labels])


def test_its_figures_are_scikit_learns_and_have_intervals_baselines_and_slices(world: World) -> None:
    record = world.evaluate(world.good)
    kept = world.kept(record)
    assert record.columns == ["scores"]
    scores = read_columns(kept, record.columns)["scores"]
    assert isinstance(scores, np.ndarray)
    truth, named = hot(kept["label"], record.labels), scores >= 0.5
    found = record.metrics
    assert found["micro_f1"] == pytest.approx(sk.f1_score(truth, named, average="micro"))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, named, average="macro"))
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(truth, named))
    assert found["hamming_loss"] == pytest.approx(sk.hamming_loss(truth, named))
    assert found["mean_average_precision"] == pytest.approx(sk.average_precision_score(truth, scores, average="macro"))
    chosen = scores >= record.settings["threshold"]
    assert found["threshold_f1"] == pytest.approx(sk.f1_score(truth, chosen, average="micro"))
    assert found["threshold_precision"] == pytest.approx(sk.precision_score(truth, chosen, average="micro"))
    assert found["threshold_recall"] == pytest.approx(sk.recall_score(truth, chosen, average="micro"))
    assert found["unknown_label_rate"] == 0.0
    assert [info.name for info in record.shown] == list(TASK.metrics)
    with_interval = {name for name, metric in TASK.metrics.items() if metric.has_interval}
    assert set(record.intervals) == with_interval
    for name in with_interval:
        assert record.intervals[name].low <= found[name] <= record.intervals[name].high
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, named)
    for place, tag in enumerate(details_of(record).per_tag):
        figures = (tag.precision, tag.recall, tag.f1, tag.support)
        assert figures == pytest.approx((precision[place], recall[place], f1[place], support[place]))
        assert tag.average_precision == pytest.approx(sk.average_precision_score(truth[:, place], scores[:, place]))
    prior, linear = record.baselines
    assert (prior.name, linear.name) == ("prior", "linear")
    assert prior.metrics["micro_f1"] < linear.metrics["micro_f1"]
    assert prior.metrics["micro_f1"] == pytest.approx(_constant(world.train, truth, record.labels))
    assert {line.value for line in record.slices} == {"app", "web"}


def _constant(train: pl.DataFrame, truth: np.ndarray[Any, Any], labels: list[str]) -> float:
    """The best constant answer on train, scored on the truth."""
    had = hot(train["label"], labels)
    order = np.argsort(-had.sum(axis=0))
    answers = [np.isin(np.arange(len(labels)), order[:count]) for count in range(1, len(labels) + 1)]
    best = max(answers, key=lambda each: sk.f1_score(had, np.tile(each, (len(had), 1)), average="micro"))
    return float(sk.f1_score(truth, np.tile(best, (len(truth), 1)), average="micro"))


def test_its_page_and_its_card_name_tags_confusions_and_the_worst_rows(world: World) -> None:
    model = tagged.write_model(world.root / "mixed", world.dataset, world.train, flip=0.6)
    record = world.evaluate(model)
    decision, met = world.decide(model, record=record)
    found = details_of(record)
    kept = world.kept(record)
    truth, named = (
        hot(kept["label"], record.labels),
        np.array([[tag in given for tag in record.labels] for given in kept["predicted"].to_list()]),
    )
    wrong = (truth != named).sum(axis=1)
    assert found.worst_rows[0].preview == kept["preview"][int(wrong.argmax())]
    for pair in found.confusions:
        missed, given = record.labels.index(pair.missed), record.labels.index(pair.named)
        is_pair = truth[:, missed] & ~named[:, missed] & named[:, given] & ~truth[:, given]
        assert pair.count == is_pair.sum()
        assert pair.example == kept["preview"][int(is_pair.argmax())]
    assert found.confusions
    page = evaluation_report(record, TASK, reader(record)).render()
    for words in (
        "Tag by tag",
        "What it names in place of what",
        "From which score",
        "Worst rows",
        "most frequent tags",
    ):
        assert words in page, words
    version = world.registry.register(model, evaluation=record, decision=decision)
    card = card_markdown(version)
    for words in ("Task tagging", "Micro F1", "Least average precision: ", "Names most often in place of another"):
        assert words in card, words
    assert "micro_f1" in decision_report(decision, met, record).render()
    assert record.facts["tags"] == 4
    weakest: Any = record.facts["weakest_tags"]
    assert weakest[0]["tag"] in tagged.TAGS


def test_the_gate_compares_two_models_tag_by_tag_and_row_by_row(world: World) -> None:
    worse = tagged.write_model(world.root / "worse", world.dataset, world.train, flip=0.8)
    world.registry.register(worse, evaluation=world.evaluate(worse))
    world.registry.promote("homes", "candidate")
    better = {"champion": {"better_than": [{"confident": True}, {"metric": "hamming_loss"}]}}
    decision, met = world.decide(world.good, better)
    assert decision.decision == "blessed", decision.reason
    assert met.all == met.shared
    assert met.all.only_challenger > met.all.only_champion
    assert met.all.p_value < 0.01
    assert all(list(row) == ["row", "is", "tags"] for row in met.lost)

    world.registry.register(world.good, evaluation=world.evaluate(world.good))
    world.registry.promote("homes", "candidate")
    decision, _ = world.decide(worse)
    assert decision.decision == "rejected"
    assert "micro_f1 no worse than the champion's by more than 0.01" in decision.reason


@pytest.mark.parametrize(
    ("rules", "passes", "says"),
    [
        ({"recall": 0.3, "precision": 0.3, "average_precision": 0.3, "min_support": 1}, True, "holds for 4 tags"),
        ({"recall": 1.0, "min_support": 1}, False, "recall of every tag at least 1"),
        ({"average_precision": 0.3, "min_support": 190}, True, "4 tags with fewer than 190 rows are not judged"),
        ({"tags": {"Sea view": {"recall": 0.3}}}, True, "recall of Sea view at least 0.3"),
        ({"tags": {"Sea view": {"average_precision": 1.0}}}, False, "average precision of Sea view at least 1"),
        ({"tags": {"Sea veiw": {"recall": 0.1}}}, False, "no test row has this tag (did you mean 'Sea view'?)"),
    ],
)
def test_floors_by_tag_decide(world: World, rules: dict[str, Any], passes: bool, says: str) -> None:
    decision, _ = world.decide(world.good, {"task": {"tag_floors": rules}})
    assert decision.decision == ("blessed" if passes else "rejected"), decision.reason
    assert says in " ".join(f"{rule.rule} {rule.detail}" for rule in decision.rules)


def test_a_rule_of_another_task_is_one_clear_line(world: World) -> None:
    with pytest.raises(InvalidSpec, match=r"promotion.task.class_floors: unknown field; expected one of tag_floors"):
        world.decide(world.good, {"task": {"class_floors": {}}})


def test_a_threshold_may_be_asked_to_be_precise(world: World) -> None:
    usual = world.evaluate(world.good)
    strict = world.evaluate(world.good, SPEC.model_copy(update={"task": {"threshold": {"precision": 0.99}}}))
    threshold: Any = strict.settings["threshold"]
    assert threshold > usual.settings["threshold"]
    assert strict.metrics["threshold_precision"] > usual.metrics["threshold_precision"]
    assert strict.metrics["micro_f1"] == usual.metrics["micro_f1"]


def test_a_tag_that_train_never_saw_counts_as_missed_and_is_named(tmp_path: Path) -> None:
    known = tagged.rows(200, 2)
    test = known.with_columns(
        label=pl.when(pl.col("row_id") < 50).then(pl.lit('["Balcony", "Sauna"]')).otherwise(pl.col("label"))
    )
    world = world_of(tmp_path, test)
    record = world.evaluate(world.good)
    kept = world.kept(record)
    scores: Any = read_columns(kept, record.columns)["scores"]
    classes = [*record.labels, "Sauna"]
    truth, named = hot(kept["label"], classes), np.column_stack([scores >= 0.5, np.zeros(200, bool)])
    assert record.metrics["micro_f1"] == pytest.approx(sk.f1_score(truth, named, average="micro"))
    assert record.metrics["macro_f1"] == pytest.approx(sk.f1_score(truth, named, average="macro", zero_division=0))
    assert record.metrics["unknown_label_rate"] == 0.25
    assert details_of(record).unknown_tags == {"Sauna": 50}
    assert details_of(record).per_tag[-1].average_precision == 0.0
    assert "50 rows have tags that the model never saw, which count as missed: Sauna (50)." in record.headline
    assert record.settings == {}  # no eval rows, no threshold
    assert "threshold_f1" not in record.metrics
    assert "no threshold was calibrated" in record.limits[-1]


def test_rows_without_any_tag_are_judged_like_others(tmp_path: Path) -> None:
    world = world_of(tmp_path, tagged.rows(40, 3).with_columns(label=pl.lit("[]")), tagged.rows(60, 1))
    record = world.evaluate(world.good)
    assert record.metrics["micro_recall"] == record.metrics["mean_average_precision"] == 0.0
    empty = world.kept(record)["predicted"].list.len() == 0
    assert record.metrics["subset_accuracy"] == pytest.approx(empty.mean())


def test_baselines_take_tags_that_all_rows_have_one_tag_alone_and_no_texts() -> None:
    fit = TASK.evaluation.fit_baseline
    kind: Any = tagged_input()
    rows = pl.DataFrame({"text": ["a b", "a c", "a d"], "label": ['["x", "y"]', '["x"]', '["x"]']})
    for name in ("prior", "linear"):
        baseline = fit(name, kind, rows, 0)
        assert baseline is not None
        [*found] = baseline.predict([rows])["predicted"]
        assert all("x" in tags for tags in found)
    none = rows.with_columns(label=pl.lit("[]"))
    prior = fit("prior", kind, none, 0)
    assert prior is not None
    assert prior.predict([none])["predicted"].to_list() == [[], [], []]
    assert fit("linear", kind, none, 0) is None


def tagged_input() -> Any:
    from shipway.inputs import load_input

    return load_input(tagged.recipe.input)
