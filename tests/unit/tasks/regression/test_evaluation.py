"""A recipe that names `regression` and `table` is evaluated, judged by the gate and described."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.components.evaluate.html import evaluation_report
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.promote.decide import decide
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import InvalidSpec
from shipway.inputs import load_input
from shipway.registry import Registry
from shipway.registry.card import card_markdown
from shipway.specs import parse
from shipway.storage import Store
from shipway.tasks import load_task
from shipway.tasks.stored import reader
from tests.fixtures import houses, waiting

SPEC = EvaluationSpec(slices=["category.town"], bootstrap=200, recipes=[houses.REFERENCE])
TASK = load_task("regression")
FOREIGN = ("accuracy", "confus", "macro", "class", "none of these", "probabilit")


@dataclass
class World:
    root: Path
    registry: Registry
    train: pl.DataFrame
    test: pl.DataFrame
    dataset: DatasetManifest
    good: ModelManifest
    record: EvaluationRecord

    def model(self, dear: float) -> ModelManifest:
        return houses.write_model(self.root / f"dear-{dear}", self.dataset, self.train, dear=dear)

    def evaluate(self, model: ModelManifest, spec: EvaluationSpec = SPEC) -> EvaluationRecord:
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        return measure(model, self.dataset, spec, store=self.registry.store, folder=scratch)

    def decide(
        self, model: ModelManifest, policy: dict[str, Any] | None = None, record: EvaluationRecord | None = None
    ) -> Any:
        wanted = parse(PromotionPolicy, {"recipes": [houses.REFERENCE], **(policy or {})}, "promotion")
        return decide(model, self.dataset, record or self.evaluate(model), wanted, self.registry)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("houses")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        train, test = houses.rows(300), houses.rows(150, 2)
        dataset = houses.write_dataset(root / "dataset", {"train": train, "eval": houses.rows(60, 1), "test": test})
        good = houses.write_model(root / "good", dataset, train)
        registry = Registry(Store.open((root / "store").as_uri()))
        world = World(root, registry, train, test, dataset, good, None)  # type: ignore[arg-type]
        world.record = world.evaluate(good)
    return world


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHIPWAY_RECIPES", raising=False)
    registry = Registry(Store.open((tmp_path / "store").as_uri()))
    return World(made.root, registry, made.train, made.test, made.dataset, made.good, made.record)


def truth_and_answers(world: World) -> tuple[Any, Any]:
    encoded: Any = houses.Columns(houses.TOWNS).encode(load_input("table").values(world.test))["columns"]
    return world.test["label"].cast(pl.Float64).to_numpy(), encoded @ houses.solve(world.train)


def test_its_figures_are_those_of_scikit_learn(world: World) -> None:
    truth, predicted = truth_and_answers(world)
    error = predicted - truth
    assert world.record.metrics == pytest.approx(
        {
            "rmse": root_mean_squared_error(truth, predicted),
            "mae": mean_absolute_error(truth, predicted),
            "r2": r2_score(truth, predicted),
            "mean_error": error.mean(),
            "max_error": np.abs(error).max(),
        },
        rel=1e-4,
        abs=1e-3,
    )
    assert {*world.record.intervals} == {"rmse", "mae", "r2", "mean_error"}
    for name, interval in world.record.intervals.items():
        assert interval.low < world.record.metrics[name] < interval.high
    assert {part.value for part in world.record.slices} == set(houses.TOWNS)
    squares = sum(part.metrics["rmse"] ** 2 * part.rows for part in world.record.slices)
    assert (squares / 150) ** 0.5 == pytest.approx(world.record.metrics["rmse"])


def test_it_stands_beside_the_mean_and_a_ridge_regression_over_the_tables_features(world: World) -> None:
    truth, _ = truth_and_answers(world)
    mean, ridge = world.record.baselines
    assert (mean.name, mean.model_loses, ridge.name, ridge.trained_rows) == ("mean", False, "ridge", 300)
    labels = world.train["label"].cast(pl.Float64).to_numpy()
    assert mean.metrics["rmse"] == pytest.approx(((truth - labels.mean()) ** 2).mean() ** 0.5)
    assert mean.metrics["r2"] < 0.01
    features, transform = load_input("table").fit_features(world.train)  # type: ignore[attr-defined]
    expected = Ridge(alpha=1.0).fit(features.toarray(), labels).predict(transform(world.test).toarray())
    assert ridge.metrics["rmse"] == pytest.approx(root_mean_squared_error(truth, expected), rel=1e-3)


def test_a_ridge_regression_stands_beside_texts_and_not_beside_an_input_without_features() -> None:
    texts = pl.DataFrame({"text": ["three", "three three", "one", "one one"], "label": ["3.0", "6.0", "1.0", "2.0"]})
    fitted = TASK.evaluation.fit_baseline("ridge", load_input("text"), texts, 0)
    assert fitted is not None
    answers = fitted.predict([texts[:2], texts[2:]])["predicted"].to_list()
    assert answers[0] > answers[2]
    assert TASK.evaluation.fit_baseline("ridge", waiting.recipe.input, waiting.rows(20), 0) is None


def test_what_is_kept_tells_where_it_errs(world: World) -> None:
    truth, predicted = truth_and_answers(world)
    size = np.abs(predicted - truth)
    details: Any = world.record.details
    assert details["truth"] == [truth.min(), truth.max()]
    assert sum(details["counts"]) == len(details["points"]) == 150
    worst = int(size.argmax())
    assert details["worst"][0]["true"] == truth[worst]
    assert details["worst"][0]["preview"] == load_input("table").preview(world.test)[worst]
    assert details["quantiles"][0] == pytest.approx([0.5, np.quantile(size, 0.5, method="higher")], rel=1e-3)
    kept = TASK.evaluation.Params(points=10, worst=2)
    few: Any = world.evaluate(world.good, SPEC.model_copy(update={"task": kept.model_dump(), "baselines": []})).details
    assert (len(few["points"]), len(few["worst"])) == (10, 2)


def test_its_example_is_the_best_answered_of_the_short_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted = truth_and_answers(world)
    size, characters = np.abs(predicted - truth), load_input("table").preview(world.test).str.len_chars().to_numpy()
    most = int(characters[size.argmin()]) - 1  # the best of all is too long
    monkeypatch.setattr("shipway.components.evaluate.measure._EXAMPLE_CHARACTERS", (8, most))
    best = world.test.row(int(np.where(characters <= most, size, np.inf).argmin()), named=True)
    plain = SPEC.model_copy(update={"baselines": [], "bootstrap": 0})
    assert world.evaluate(world.good, plain).example == load_input("table").instance(best)


def test_its_page_and_its_card_speak_of_numbers(world: World) -> None:
    record = world.record
    version = world.registry.register(world.good, evaluation=record)
    page = evaluation_report(record, TASK, reader(record)).render()
    for words in ("RMSE", "Predicted against true", "How far it is off", "Worst rows", "ridge regression", "town Köln"):
        assert words in page, words
    assert len(page) < 1_000_000
    card = card_markdown(version)
    for words in ("50 % of its answers are off by at most", "It was judged on true values from", "Farthest off:", "R²"):
        assert words in card, words
    for text in (page, card):
        visible = text[text.find("</script>") :].lower().replace("class=", "")
        assert not [word for word in FOREIGN if word in visible]


def test_a_model_that_is_surely_too_high_says_so(world: World) -> None:
    found = world.evaluate(world.model(60.0))
    assert "Its answers are too high by 6" in found.headline[1]
    assert len(world.record.headline) == 1


@pytest.mark.parametrize(
    ("policy", "passes"),
    [
        ({}, True),
        ({"thresholds": {"rmse": 60, "r2": 0.95}}, True),
        ({"thresholds": {"rmse": 20}}, False),
        ({"thresholds": {"r2": {"at_least": 0.9, "confident": True}}}, True),
        ({"task": {"mean_error": 20, "within": [{"error": 100, "share": 0.9}]}}, True),
        ({"task": {"within": [{"error": 10, "share": 0.9}]}}, False),
    ],
)
def test_figures_and_rules_decide(world: World, policy: dict[str, Any], passes: bool) -> None:
    decision, _ = world.decide(world.good, policy, world.record)
    assert decision.decision == ("blessed" if passes else "rejected"), decision.reason


def test_the_gate_compares_two_models_by_their_rmse(world: World) -> None:
    dear = world.model(80.0)
    world.registry.register(dear, evaluation=world.evaluate(dear))
    world.registry.promote("houses", "candidate")
    decision, met = world.decide(world.good, {"champion": {"better_than": [{"confident": True}]}}, world.record)
    assert (decision.decision, met.state) == ("blessed", "compared"), decision.reason
    assert met.all.metrics["rmse"]["difference"] < -30
    assert met.all.only_challenger > met.all.only_champion
    assert list(met.lost[0]) == ["row", "is", "value"]


def test_a_champion_whose_columns_the_rows_lack_is_not_compared(world: World) -> None:
    wider = world.model(1.0).model_copy(
        update={"input_params": {"numeric": ["size", "age", "floors"], "categorical": ["town"]}}
    )
    world.registry.register(wider)
    world.registry.promote("houses", "candidate")
    decision, met = world.decide(world.good, record=world.record)
    assert (decision.decision, met.state) == ("blessed", "other")
    assert "input 'table', whose number.floors these rows lack" in decision.reason


def test_a_model_that_does_not_say_its_columns_is_refused_in_one_line(world: World) -> None:
    with pytest.raises(InvalidSpec, match=r"input_params: .*name at least one column"):
        world.evaluate(world.good.model_copy(update={"input_params": {}}))
