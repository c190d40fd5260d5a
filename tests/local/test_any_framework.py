"""The recipe of docs/any-framework.md, as written: scikit-learn goes from rows to an answering endpoint by ONNX."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import ModelManifest
from tests.fixtures.person import Typist, document
from tests.fixtures.tiny_model import rows

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "any-framework.md").read_text(encoding="utf-8")
pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("any-framework")]

REFERENCE = "my_recipes.lines:recipe"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(COMMAND,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


class Person(Typist):
    """Somebody who copied the page's recipe into a module of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "my_recipes").mkdir()
        (folder / "my_recipes" / "lines.py").write_text(CODE, encoding="utf-8")
        with (folder / "lines.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label", "group"), *rows()])
        self.environment["PYTHONPATH"] = "."

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """The page's command, with parameters more."""
        path, shipway, *words = shlex.split(COMMAND.replace("\\\n", ""))
        assert (path, shipway) == ("PYTHONPATH=.", "shipway")
        return self.call(*words, *more, "--json")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = Person(tmp_path_factory.mktemp("person"))
    yield person
    person.call("down")


@pytest.fixture(scope="module")
def served(person: Person) -> dict[str, Any]:
    done = person.run()
    return document(done)


@pytest.mark.proves(recipe="a fit of your own", strategy="single", executor="process")
def test_it_is_swept_and_judged_against_baselines(served: dict[str, Any]) -> None:
    assert (served["sweep"]["objective"], served["sweep"]["trials"]) == ("val_accuracy", 3)
    assert served["best_parameters"]["C"] in (0.1, 1.0, 10.0)
    evaluation = served["evaluation"]
    assert {"majority", "linear_svm"} <= set(evaluation["baselines"])
    assert evaluation["metrics"]["accuracy"] > evaluation["baselines"]["majority"]["metrics"]["accuracy"]
    assert served["decision"]["decision"] == "blessed"


def test_its_endpoint_answers_by_the_onnx_that_gives_the_fitted_models_numbers(
    person: Person, served: dict[str, Any]
) -> None:
    body = json.dumps({"instances": ["turn on the light in the kitchen", "play jazz"]}).encode()
    request = urllib.request.Request(served["endpoint"]["predict_url"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert [found["label"] for found in json.load(answer)["predictions"]] == ["light_on", "music"]
    shown = person.call("models", "show", "lines", "--json")
    model = ModelManifest.model_validate(json.loads(shown.stdout)["model"])
    assert (model.serving, sorted(file.path for file in model.files)) == ("onnx", ["encoder.json", "model.onnx"])
    assert model.served.parity is not None
    assert (model.served.parity.passed, model.served.parity.agreement) == (True, 1.0)
    assert {"scikit-learn", "skl2onnx"} <= set(model.versions)
    assert model.image == "registry.example/lines/python-trainer:1"
    assert "single, 1 worker" in person.call("models", "show", "lines").stdout


def test_every_job_of_the_run_names_the_recipes_image(person: Person, served: dict[str, Any]) -> None:
    jobs = [json.loads(path.read_text()) for path in person.folder.glob(".shipway/jobs/*/manifest.json")]
    found = {
        (job["kind"], container["image"])
        for job in jobs
        for replica in job["spec"].get("tfReplicaSpecs", {}).values()
        for container in replica["template"]["spec"]["containers"]
    }
    assert len(jobs) >= 2
    assert found == {("TFJob", "registry.example/lines/python-trainer:1")}


@pytest.mark.proves(recipe="a fit of your own", strategy="horovod", executor="process", refused=True)
def test_a_strategy_that_needs_a_keras_model_is_refused_before_anything_starts(person: Person) -> None:
    done = person.run("strategy=horovod", "workers=2")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "'horovod' needs a tf_keras model" in done.stderr


def test_the_predictors_side_of_it_imports_neither_scikit_learn_nor_tensorflow(person: Person) -> None:
    code = (
        "import sys\n"
        "from shipway.recipes import load_recipe\n"
        f"recipe = load_recipe({REFERENCE!r})\n"
        "encoder = recipe.load_encoder({'labels': ['a'], 'buckets': 8})\n"
        "assert encoder.encode(['a b'])['words'].sum() == 2\n"
        "print(*{'sklearn', 'skl2onnx', 'tensorflow', 'tf_keras'} & set(sys.modules))\n"
    )
    environment = {**person.environment, "PYTHONPATH": str(person.folder)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("", "")
