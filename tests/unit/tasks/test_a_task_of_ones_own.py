"""A task and an input that nothing in Shipway knows go through evaluation, the gate, the registry and its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest, RunRecord, StepRecord
from shipway.cli.console import console
from shipway.cli.screens import closing_screen
from shipway.components.evaluate import launch
from shipway.components.evaluate.html import evaluation_report
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.notify.core import summary_report
from shipway.components.promote import champion
from shipway.components.promote.decide import decide
from shipway.components.promote.html import decision_report
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import CorruptArtifact, InvalidSpec, ShipwayError
from shipway.registry import Registry
from shipway.registry.card import card_html, card_markdown
from shipway.scoring.predictions import read_columns
from shipway.specs import parse
from shipway.storage import Store
from shipway.summary import build_summary
from shipway.tasks import load_task, task_of
from shipway.tasks.evaluated import Evaluated
from shipway.tasks.stored import reader
from tests.fixtures import toy, waiting
from tests.fixtures.packages.trams.trams import task as trams_task

SPEC = EvaluationSpec(slices=["line"], bootstrap=200, recipes=[waiting.REFERENCE])
FOREIGN = ("accuracy", "confus", "macro", "class", "none of these", "argmax")


@dataclass
class World:
    root: Path
    registry: Registry
    test: pl.DataFrame
    dataset: DatasetManifest
    good: ModelManifest
    late: ModelManifest

    def evaluate(self, model: ModelManifest, spec: EvaluationSpec = SPEC) -> EvaluationRecord:
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        return measure(model, self.dataset, spec, store=self.registry.store, folder=scratch)

    def decide(
        self, model: ModelManifest, policy: dict[str, Any] | None = None, record: EvaluationRecord | None = None
    ) -> Any:
        wanted = parse(PromotionPolicy, {"recipes": [waiting.REFERENCE], **(policy or {})}, "promotion")
        return decide(model, self.dataset, record or self.evaluate(model), wanted, self.registry)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHIPWAY_RECIPES", raising=False)
    train, test = waiting.rows(300), waiting.rows(150, 2)
    dataset = waiting.write_dataset(tmp_path / "dataset", {"train": train, "eval": waiting.rows(60, 1), "test": test})
    good = waiting.write_model(tmp_path / "good", dataset, train)
    late = waiting.write_model(tmp_path / "late", dataset, train, late=3.0)
    return World(tmp_path, Registry(Store.open((tmp_path / "store").as_uri())), test, dataset, good, late)


def test_its_figures_intervals_baseline_and_slices_are_measured(world: World) -> None:
    record = world.evaluate(world.good)
    kept = world.root / "kept.parquet"
    world.registry.store.download(
        f"{record.uri}/predictions.parquet".removeprefix(world.registry.store.uri + "/"), kept
    )
    rows = pl.read_parquet(kept)
    minutes = read_columns(rows, record.columns)["minutes"]
    assert isinstance(minutes, np.ndarray)
    off = np.abs(world.test["label"].cast(pl.Float64).to_numpy() - minutes)
    assert record.metrics["mean_error"] == pytest.approx(off.mean())
    assert record.metrics["punctual"] == pytest.approx((off < 2).mean())
    assert record.metrics["worst_error"] == pytest.approx(off.max())
    assert [info.name for info in record.shown] == ["mean_error", "punctual", "worst_error"]
    assert record.intervals["mean_error"].low < off.mean() < record.intervals["mean_error"].high
    [mean] = record.baselines
    assert (mean.name, mean.model_loses, mean.trained_rows) == ("mean", False, 300)
    assert mean.difference == pytest.approx(record.metrics["mean_error"] - mean.metrics["mean_error"])
    assert mean.difference_interval is not None
    assert mean.difference_interval.high < 0
    assert {line.value for line in record.slices} == {"red", "blue"}
    assert sum(s.metrics["mean_error"] * s.rows for s in record.slices) / 150 == pytest.approx(off.mean())
    assert record.details == {"eval_rows": 60, "asked": {"punctual": 2.0}}
    assert (record.task, record.labels, record.settings) == ("waiting", [], {"most": 60.0})
    assert record.example in [waiting.recipe.input.instance(row) for row in world.test.iter_rows(named=True)]
    assert rows["preview"][0].endswith("passengers")


def test_its_pages_and_its_card_speak_of_it_and_of_nothing_else(world: World) -> None:
    world.registry.register(world.late, evaluation=world.evaluate(world.late))
    world.registry.promote("tram", "candidate")
    record = world.evaluate(world.good)
    decision, met = world.decide(world.good, record=record)
    version = world.registry.register(world.good, evaluation=record, decision=decision)
    page = evaluation_report(record, waiting.recipe.task, reader(record)).render()
    for words in ("Mean error", "Punctual", "mean of the training rows", "How far it is off", "Slices", "It is off by"):
        assert words in page, words
    card = card_markdown(version)
    for words in ("Task waiting", "Mean error", "Knows no night service.", "mean of the training rows"):
        assert words in card, words
    judged = decision_report(decision, met, record).render()
    assert "mean_error no worse than the champion" in judged
    for text in (page, judged, card, card_html(version)):
        visible = text[text.find("</script>") :].lower().replace("class=", "")
        assert not [word for word in FOREIGN if word in visible]


def test_the_closing_screen_and_the_page_of_the_run_show_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    record = world.evaluate(world.late)
    url = "http://127.0.0.1:8081/v1/models/tram:predict"
    steps = [
        StepRecord(run="run-1", role="evaluate", task="model", state="Succeeded", outputs={"uri": record.uri}),
        StepRecord(
            run="run-1", role="deploy", task="kserve", state="Succeeded", outputs={"url": url, "endpoint": "tram"}
        ),
    ]
    run = RunRecord(run="run-1", pipeline="p", name="tram", state="Succeeded", steps=steps)
    summary = build_summary(run, read=lambda kind, uri: EvaluationRecord.from_json(record.to_json()))
    console.cache_clear()
    closing_screen(summary)
    console.cache_clear()
    screen, page = capsys.readouterr().out, summary_report(summary).render()
    example = json.dumps(record.example, sort_keys=True)
    for words in ("mean error", "punctual", "Worst rows", "It is off by", f"shipway predict tram '{example}'"):
        assert words in screen, words
    assert f'{{"instances": [{example}]}}' in screen
    for words in ("Mean error beside the baselines", "mean of the training rows", "It is off by"):
        assert words in page, words
    assert not [word for word in FOREIGN if word in screen.lower()]


def test_the_gate_compares_it_with_the_champion_by_its_first_metric(world: World) -> None:
    world.registry.register(world.late, evaluation=world.evaluate(world.late))
    world.registry.promote("tram", "candidate")
    better = {"champion": {"better_than": [{"confident": True}, {"metric": "punctual"}]}}
    decision, met = world.decide(world.good, better)
    assert (decision.decision, met.state) == ("blessed", "compared"), decision.reason
    assert met.all == met.shared
    assert met.all.metrics["mean_error"]["difference"] < -1
    assert met.all.only_challenger > 10 * met.all.only_champion
    assert list(met.lost[0]) == ["row", "is", "minutes"]

    world.registry.register(world.good, evaluation=world.evaluate(world.good))
    world.registry.promote("tram", "candidate")
    decision, met = world.decide(world.late)
    assert decision.decision == "rejected"
    assert "mean_error no worse than the champion's by more than 0.01" in decision.reason


def test_a_champion_of_another_task_is_not_compared_and_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    train = toy.rows(60)
    data = toy.write_dataset(world.root / "texts", {"train": train, "test": toy.rows(30, 1)})
    other = toy.write_model(world.root / "other", data, train).model_copy(update={"name": "tram"})
    world.registry.register(other)
    world.registry.promote("tram", "candidate")
    decision, met = world.decide(world.good)
    assert (decision.decision, met.state) == ("blessed", "other")
    assert "has task 'classification', this model's is 'waiting': there is nothing to compare" in decision.reason


@pytest.mark.parametrize(
    ("policy", "passes"),
    [
        ({"thresholds": {"mean_error": 1.5}}, True),
        ({"thresholds": {"mean_error": 0.1}}, False),
        ({"thresholds": {"mean_error": {"at_most": 1.5, "confident": True}}}, True),
        ({"thresholds": {"punctual": 0.8, "worst_error": 9}}, True),
        ({"thresholds": {"punctual": 0.999}}, False),
        ({"task": {"off_by_at_most": 20}}, True),
        ({"task": {"off_by_at_most": 1}}, False),
    ],
)
def test_its_metrics_and_its_own_rules_decide(world: World, policy: dict[str, Any], passes: bool) -> None:
    decision, _ = world.decide(world.good, policy)
    assert decision.decision == ("blessed" if passes else "rejected"), decision.reason


def test_a_model_that_is_surely_worse_than_the_mean_is_rejected(world: World) -> None:
    hopeless = waiting.write_model(world.root / "hopeless", world.dataset, waiting.rows(300), late=90.0)
    decision, _ = world.decide(hopeless)
    assert decision.decision == "rejected"
    assert "does not surely lose to the mean of the training rows" in decision.reason
    assert world.evaluate(hopeless).baselines[0].model_loses


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            {"thresholds": {"accuracy": 0.9}},
            r"unknown metric 'accuracy'; expected one of mean_error, punctual, worst_error",
        ),
        ({"thresholds": {"worst_error": {"at_most": 1, "confident": True}}}, "worst_error has no interval"),
        ({"thresholds": {"punctual": 3}}, "got 3, expected a share"),
        ({"baselines": {"must_not_lose_to": ["majority"]}}, r"unknown baseline 'majority'; expected one of mean"),
        ({"task": {"class_floors": {}}}, r"promotion.task.class_floors: unknown field"),
    ],
)
def test_a_policy_that_asks_for_another_task_is_one_clear_line(
    world: World, policy: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        world.decide(world.good, policy)


def test_an_evaluation_that_asks_for_another_task_is_one_clear_line(world: World) -> None:
    with pytest.raises(
        InvalidSpec, match=r"evaluation.baselines\[0\]: unknown baseline 'linear_svm'; expected one of mean"
    ):
        world.evaluate(world.good, SPEC.model_copy(update={"baselines": ["linear_svm"]}))
    with pytest.raises(InvalidSpec, match=r"evaluation.task.punctul: unknown field.*did you mean 'punctual'"):
        world.evaluate(world.good, SPEC.model_copy(update={"task": {"punctul": 1}}))


@pytest.mark.parametrize("where", ["mean_error", "worst_error"])
def test_a_figure_that_is_no_number_is_refused(world: World, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = trams_task.Evaluation
    if where == "mean_error":
        monkeypatch.setattr(asked, "metrics", lambda self, sums: dict.fromkeys(("mean_error",), sums[:, 0] * np.nan))
    else:
        monkeypatch.setattr(asked, "measure", lambda self, found, params: Evaluated({"worst_error": float("inf")}))
    with pytest.raises(ShipwayError, match=f"task waiting: {where} is (nan|inf), not a number"):
        world.evaluate(world.good)


def test_a_metric_that_the_task_does_not_name_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trams_task.Evaluation, "measure", lambda self, found, params: Evaluated({"other": 1.0}))
    with pytest.raises(ShipwayError, match="it measures other, which its `metrics` do not name"):
        world.evaluate(world.good)


def test_rows_of_several_classes_are_shared_where_both_models_know_them_all() -> None:
    task: Any = SimpleNamespace(labels=SimpleNamespace(classes=lambda labels: labels.str.split(";")))
    found = champion._shared(task, pl.Series(["a", "a;b", "b;c", "c"]), {"a", "b"})
    assert found.tolist() == [True, True, False, False]


def test_a_linear_svm_stands_beside_texts_only() -> None:
    rows = waiting.rows(20)
    fit = load_task("classification").evaluation.fit_baseline
    assert fit("linear_svm", waiting.recipe.input, rows, 0) is None
    assert fit("majority", waiting.recipe.input, rows, 0) is not None


def test_a_task_that_lacks_a_side_is_refused_without_computing_the_others() -> None:
    class Half:
        name = "half"
        metrics = trams_task.Waiting.metrics

        @property
        def answers(self) -> Any:
            raise ImportError("a package that is absent here")

    with pytest.raises(
        InvalidSpec, match="its task is a Half without labels, head, evaluation; expected a name or a Task"
    ):
        task_of(cast(Any, SimpleNamespace(name="r", task=Half())))


def test_a_file_of_its_own_that_was_changed_is_refused(world: World) -> None:
    record = world.evaluate(world.good)
    world.registry.store.put(f"{record.uri.removeprefix(world.registry.store.uri + '/')}/errors.json", b"{}")
    with pytest.raises(CorruptArtifact, match=r"errors\.json: was changed"):
        reader(record)("errors.json")
    with pytest.raises(CorruptArtifact, match="names no file other"):
        reader(record)("other.json")


def test_the_component_leaves_every_output_also_where_there_is_no_matrix(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_STORE", world.registry.store.uri)
    world.good.write(world.root / "good/manifest.json")
    world.dataset.write(world.root / "dataset/manifest.json")
    logged: dict[str, float] = {}
    outputs = {
        name: SimpleNamespace(path=str(world.root / "out" / name), log_metric=logged.__setitem__)
        for name in ("evaluation", "confusion", "metrics", "report")
    }
    given = {"model": "good", "dataset": "dataset"}
    inputs = {name: SimpleNamespace(path=str(world.root / where / "manifest.json")) for name, where in given.items()}
    record = launch.evaluate(**inputs, **outputs, spec=SPEC.model_dump_json())
    assert json.loads((world.root / "out/confusion").read_text()) == {"labels": [], "counts": []}
    assert logged == pytest.approx(record.metrics)
    assert EvaluationRecord.read(world.root / "out/evaluation") == record
    assert "Mean error" in (world.root / "out/report").read_text()
