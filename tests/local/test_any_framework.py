"""The recipe of docs/any-framework.md, as written: scikit-learn goes from rows to an answering endpoint by ONNX."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import typed
from tests.fixtures.tiny_model import rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "any-framework.md"
REFERENCE = "my_recipes.lines:recipe"
OVERRIDES = {
    "sweep": {"parameters": {"C": [0.1, 1.0, 10.0]}, "maxTrialCount": 3},
    "evaluation": {"bootstrap": 200},
    "promotion": {"thresholds": {"accuracy": 0.5}},
}
NO_TENSORFLOW = {"tensorflow", "tf_keras", "keras", "tf2onnx", "horovod"}


class Person:
    """Somebody who copied the page's recipe into a module of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        (folder / "my_recipes").mkdir()
        (folder / "my_recipes" / "lines.py").write_text(code, encoding="utf-8")
        with (folder / "lines.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label", "group"), *rows()])
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPWAY_", "AWS_"))}
        self.environment = {**kept, "PYTHONPATH": str(folder)}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return typed.run(arguments, cwd=self.folder, env=self.environment)

    def run(self, overrides: dict[str, Any], *params: str) -> subprocess.CompletedProcess[str]:
        given = ["name=lines", "data=lines.csv", f"recipe={REFERENCE}", *params, f"overrides={json.dumps(overrides)}"]
        return self.call("run", "train_and_deploy", "--local", "--json", "--param", *given)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = Person(tmp_path_factory.mktemp("person"))
    yield person
    person.call("down")


@pytest.fixture(scope="module")
def served(person: Person) -> dict[str, Any]:
    done = person.run(OVERRIDES)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_swept_judged_and_served(served: dict[str, Any]) -> None:
    print(json.dumps(served, indent=1)[:6000])
    assert set(served["best_parameters"]) == {"C"}
    assert served["decision"]["decision"] == "blessed"
    body = json.dumps({"instances": ["turn on the light in the kitchen", "play jazz"]}).encode()
    request = urllib.request.Request(served["endpoint"]["predict_url"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(json.load(answer))
