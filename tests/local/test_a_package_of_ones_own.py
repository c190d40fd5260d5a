"""A recipe in a wheel of its own, with a task and an input of its own, goes from rows to an answering endpoint.

The wheel is installed nowhere: every step, replica, trial and the predictor take it from the store (`code=`).
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import tram_wheel, typed
from tests.fixtures.person import Typist, document

ROOT = Path(__file__).parents[2]
OVERRIDES = {
    "sweep": {"maxTrialCount": 2, "parameters": {"learning_rate": [0.05, 0.5]}},
    "training": {"strategy": "single", "workers": 1, "epochs": 30, "batch_size": 16},
    "evaluation": {"slices": ["line"], "task": {"punctual": 3.0}},
    "promotion": {"thresholds": {"mean_error": 3.0}, "task": {"off_by_at_most": 20.0}},
    "endpoint": {"input": {"max_stops": 50}},
}


class Person(Typist):
    """Somebody who built the wheel and has rows of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tram_wheel.build(folder)

    def run(self, overrides: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        params = ["name=tram", "data=journeys.csv", "recipe=trams:recipe", "group_column=group", "preset=quick"]
        params.append("code=wheels")
        params.append(f"overrides={json.dumps(overrides)}")
        return self.call("run", "train_and_deploy", "--local", "--json", "--param", *params)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = Person(tmp_path_factory.mktemp("person"))
    yield person
    person.call("down")


@pytest.fixture(scope="module")
def served(person: Person) -> dict[str, Any]:
    done = person.run(OVERRIDES)
    return document(done)


@pytest.mark.proves(recipe="a recipe of your own", strategy="single", executor="process")
def test_its_own_figures_stand_in_evaluation_gate_and_summary(served: dict[str, Any]) -> None:
    evaluation = served["evaluation"]
    assert set(evaluation["metrics"]) == {"mean_error", "punctual", "worst_error"}
    assert evaluation["metrics"]["mean_error"] < evaluation["baselines"]["mean"]["metrics"]["mean_error"] / 3
    assert set(evaluation["intervals"]) == {"mean_error", "punctual"}
    rules = {rule["rule"]: rule["passed"] for rule in served["decision"]["rules"]}
    assert rules["no row off by more than 20"] is True
    assert any("mean_error" in rule for rule in rules)
    assert served["decision"]["decision"] == "blessed"
    assert set(served["best_parameters"]) == {"learning_rate"}
    assert served["sweep"]["objective"] == "val_mean_error"


def test_its_endpoint_answers_in_its_own_words(served: dict[str, Any]) -> None:
    url = served["endpoint"]["predict_url"]

    def ask(instances: Any, **parameters: Any) -> Any:
        body = json.dumps({"instances": instances, "parameters": parameters}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["predictions"]

    short, long = ask([{"stops": 2, "passengers": 10}, [15, 40]])
    assert short["minutes"] == pytest.approx(3 + 2 * 2 + 0.5, abs=2)
    assert long["minutes"] == pytest.approx(3 + 2 * 15 + 2, abs=2)
    assert set(ask([[1, 1]], unit="seconds")[0]) == {"seconds", "raw"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask([{"stops": 51, "passengers": 1}])
    assert json.load(refused.value)["error"] == "instances[0].stops is 51, at most 50 are allowed"


def test_screens_pages_and_the_card_speak_its_words(person: Person, served: dict[str, Any]) -> None:
    shown = person.call("runs", "show", "last").stdout
    assert re.search(r"mean error +punctual", shown, re.IGNORECASE), shown
    assert "It is off by" in shown
    saved = json.loads(person.call("reports", "open", "last", "--json").stdout)
    pages = {title: Path(path).read_text() for title, path in saved.items()}
    assert "How far it is off" in pages["Evaluation"]
    assert "Knows no night service." in pages["Model card"]
    assert "no row off by more than 20" in pages["Decision"]
    for title in ("Evaluation", "Decision", "Model card"):
        assert not re.search(r"accuracy|confus|out.of.scope|\blabels\b", pages[title], re.IGNORECASE), title
    shown = json.loads(person.call("models", "show", "tram", "--json").stdout)
    assert shown["model"]["serving"] == "onnx", (
        "a constant of its model is in the ONNX: the predictor's image has no more"
    )
    allowed = {**person.environment, "SHIPWAY_RECIPES": "trams:recipe", "SHIPWAY_CODE": shown["model"]["code"]}
    asked = typed.run(("predict", "tram", "4 20"), cwd=person.folder, env=allowed).stdout
    assert re.search(r"journey +minutes", asked), asked
    unknown = person.call("predict", "tram", "[4, 20]").stdout  # a recipe that nobody here allowed is not imported
    assert re.search(r"instance +minutes +raw", unknown), unknown


def test_the_same_run_again_comes_from_the_cache(person: Person, served: dict[str, Any]) -> None:
    again = person.run(OVERRIDES)
    assert again.returncode == 0, again.stdout + again.stderr
    found = json.loads(again.stdout)
    cached = {step["role"]: step["cached"] for step in found["steps"]}
    assert [role for role, is_cached in cached.items() if is_cached] == ["dataset", "sweep", "train", "evaluate"]
    assert found["model"]["version"] == served["model"]["version"]


@pytest.mark.parametrize(
    ("section", "fields", "message"),
    [
        ("evaluation", {"task": {"punctul": 1}}, "evaluation.task.punctul: unknown field.*did you mean 'punctual'"),
        ("promotion", {"thresholds": {"accuracy": 0.9}}, "promotion.thresholds.*'accuracy'.*mean_error"),
        (
            "dataset",
            {"input": {"column": "x"}},
            "dataset.input.column: unknown field; expected one of passengers, stops",
        ),
        (
            "endpoint",
            {"answers": {"threshold": 0.5}},
            "endpoint.answers.threshold: unknown field; expected one of most",
        ),
        (
            "sweep",
            {"objective": {"objectiveMetricName": "val_accuracy"}},
            "no training reports a metric 'val_accuracy'",
        ),
    ],
)
def test_what_its_task_and_input_do_not_know_is_refused_before_anything_starts(
    person: Person, section: str, fields: dict[str, Any], message: str
) -> None:
    done = person.run({**OVERRIDES, section: fields})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(message, done.stderr), done.stderr


def test_by_hand_the_version_is_served_where_a_person_names_its_recipe_and_its_code(
    person: Person, served: dict[str, Any]
) -> None:
    refused = person.call("endpoints", "deploy", "tram", "champion")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    found = re.search(r"set (SHIPWAY_RECIPES)=(\S+), and for its code (SHIPWAY_CODE)='(s3://shipway/code/\S+)'", line)
    assert found, line
    recipe = {found[1]: found[2]}
    lacking = typed.run(("endpoints", "deploy", "tram"), cwd=person.folder, env={**person.environment, **recipe})
    assert lacking.returncode == 2
    assert re.search("No module named 'trams'.*; if that is yours: set SHIPWAY_CODE='s3://", lacking.stderr)
    typed_so = {**person.environment, **recipe, found[3]: found[4]}
    done = typed.run(("endpoints", "deploy", "tram", "--json"), cwd=person.folder, env=typed_so)
    assert done.returncode == 0, done.stderr
    asked = typed.run(("predict", "tram", "4 20"), cwd=person.folder, env=typed_so).stdout
    assert re.search(r"journey +minutes", asked), asked


def test_no_line_of_ours_knows_of_it() -> None:
    own = re.compile(r"\btrams?\b|punctual|journey", re.IGNORECASE)
    files = [path for folder in ("src", "components", "pipelines") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 300
    assert [path for path in files if own.search(path.read_text(encoding="utf-8"))] == []
