"""A folder of one's own code that fits images by itself: packed records, a sweep, two workers, ONNX, an endpoint.

Each of these is held by tests of its own; here they meet, as a person combines them.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import pictures
from tests.fixtures.person import Typist, document

CODE = Path(__file__).parents[1] / "fixtures/packages/shades"
OVERRIDES = {
    "sweep": {"maxTrialCount": 2},
    "evaluation": {"bootstrap": 50},
    "promotion": {"baselines": {"must_not_lose_to": []}},  # a thumbnail tells these pictures apart by itself
}
pytestmark = [pytest.mark.heavy]


class Person(Typist):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        pictures.write_folder(folder / "photos", 120)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = Person(tmp_path_factory.mktemp("person"))
    yield person
    person.call("down")


@pytest.fixture(scope="module")
def served(person: Person) -> dict[str, Any]:
    params = ["name=shades", "data=photos", "recipe=shades:recipe", f"code={CODE}", "workers=2"]
    params += ["strategy=multi_worker", f"overrides={json.dumps(OVERRIDES)}"]
    done = person.call("run", "train_and_deploy", "--local", "--json", "--param", *params)
    return document(done)


@pytest.mark.proves(recipe="a fit of your own", strategy="multi_worker", executor="process")
def test_code_that_fits_images_goes_from_a_folder_of_files_to_an_endpoint(
    person: Person, served: dict[str, Any]
) -> None:
    assert served["sweep"]["trials"] == 2
    assert set(served["best_parameters"]) == {"rate"}  # what the recipe itself suggests
    assert served["evaluation"]["metrics"]["accuracy"] > 0.75
    trained = next(step for step in served["steps"] if step["role"] == "train")["outputs"]
    assert (trained["workers"], trained["serving"]) == (2, "onnx")
    files = [path.read_bytes() for path in sorted((person.folder / "photos").rglob("*.webp"))[:2]]
    body = json.dumps({"instances": [{"b64": base64.b64encode(file).decode()} for file in files]}).encode()
    request = urllib.request.Request(served["endpoint"]["predict_url"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answers = json.load(answer)["predictions"]
    assert [set(each["probabilities"]) <= {"disc", "bar"} for each in answers] == [True, True]
    assert all(each["probability"] > 0.5 for each in answers)  # the likelier of two


def test_predict_reads_a_file_once_somebody_allows_the_recipe_and_its_code(
    person: Person, served: dict[str, Any]
) -> None:
    picture = str(next((person.folder / "photos/bar").iterdir()))
    refused = person.call("predict", "shades", picture)
    assert refused.returncode == 2
    note, error = refused.stderr.splitlines()[-2:]
    assert "is not base64" in error
    assert "SHIPWAY_RECIPES=shades:recipe, and for its code SHIPWAY_CODE=" in note
    code = note.rpartition("SHIPWAY_CODE=")[2].strip("'")
    done = person.call("predict", "shades", picture, SHIPWAY_RECIPES="shades:recipe", SHIPWAY_CODE=code)
    assert done.returncode == 0, done.stderr
    assert "label" in done.stdout
