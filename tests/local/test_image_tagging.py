"""Pictures and their tags go the whole way by the name `image_tagging`, to an endpoint that names what it is shown."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shipway.demos.images import THINGS, write_scenes
from tests.fixtures import typed

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("whole-run")]

TINY = {
    "training": {"params": {"width": 4, "learning_rate": 0.005}, "steps": 12},
    "promotion": {"baselines": {"must_not_lose_to": []}},  # twelve steps learn nothing
    "endpoint": {"answers": {"scale": "log_odds"}},
}


@dataclass
class House:
    folder: Path
    run: dict[str, Any]

    def call(self, *arguments: str) -> Any:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPWAY_", "AWS_"))}
        return typed.run(arguments, cwd=self.folder, env=environment)

    def ask(self, *files: bytes, **parameters: Any) -> tuple[int, Any]:
        body = {"instances": [{"b64": base64.b64encode(file).decode()} for file in files], "parameters": parameters}
        url = self.run["endpoint"]["predict_url"]
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def picture(self, number: int) -> Path:
        return self.folder / "homes" / f"images/{number:05d}.jpg"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("user")
    write_scenes(folder / "homes", 160)
    house = House(folder, {})
    params = [
        "name=homes",
        "data=homes",
        "size=16",
        "preset=quick",
        "strategy=multi_worker",
        "workers=2",
        f"overrides={json.dumps(TINY)}",
    ]
    try:
        done = house.call("run", "image_tagging", "--local", "--json", "--param", *params)
        assert done.returncode == 0, done.stdout + done.stderr
        house.run = json.loads(done.stdout)
        yield house
    finally:
        house.call("down")


@pytest.mark.proves(recipe="image_tags", strategy="multi_worker", executor="process")
def test_an_endpoint_names_the_tags_of_a_picture_the_surest_first(house: House) -> None:
    files = [house.picture(number).read_bytes() for number in range(3)]
    status, answer = house.ask(*files, top_k="all")
    assert status == 200, answer
    for each in answer["predictions"]:
        assert {tag["tag"] for tag in each["tags"]} == set(THINGS)
        scores = [tag["score"] for tag in each["tags"]]
        assert scores == sorted(scores, reverse=True)
    _, told = house.ask(*files, top_k="all", scale="probability")
    assert all(0 < tag["score"] < 1 for each in told["predictions"] for tag in each["tags"])
    line = house.run["evaluation"]["example_line"]
    assert Path(line).parent == house.picture(0).parent, "what the run prints next is a file of its data"
    done = house.call("predict", "homes", line)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_no_picture_is_refused_in_one_line(house: House) -> None:
    status, answer = house.ask(house.picture(0).read_bytes()[:400])
    assert status == 400
    assert answer["error"].startswith("instances[0]")
    assert "\n" not in answer["error"]


def test_the_evaluation_tells_average_precision_by_tag_beside_both_baselines(house: House) -> None:
    evaluation = house.run["evaluation"]
    assert (evaluation["task"], set(evaluation["baselines"])) == ("tagging", {"prior", "linear"})
    by_tag = {each["tag"]: each["average_precision"] for each in evaluation["facts"]["weakest_tags"]}
    assert set(by_tag) == set(THINGS)
    mean = sum(by_tag.values()) / len(by_tag)
    assert evaluation["metrics"]["mean_average_precision"] == pytest.approx(mean, abs=1e-4)
