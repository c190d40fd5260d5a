"""Intents with a sentence encoder beside n-grams: the whole line, and what a bot of one language knows of others."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures import typed
from tests.fixtures.strangers_rows import write_rows

pytestmark = pytest.mark.heavy

OVERRIDES = {
    "training": {"params": {"dim": 16, "hidden": 16}, "epochs": 4, "batch_size": 32},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A run of the pipeline in a user's folder."""
    folder = tmp_path_factory.mktemp("user")
    write_rows(folder / "bots.csv")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPWAY_", "AWS_"))}
    params = ["name=my-bot", "data=bots.csv", "input_column=utterance", "label_column=intent", "preset=quick"]
    command = ("run", "train_and_deploy", "--local", "--json", "--param", *params, f"overrides={json.dumps(OVERRIDES)}")
    done = typed.run(command, cwd=folder, env=environment)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield json.loads(done.stdout)
    finally:
        typed.run(("down",), cwd=folder, env=environment)


def ask(url: str, texts: list[str]) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        url, json.dumps({"instances": texts, "parameters": {"top_k": 3}}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answers: list[dict[str, Any]] = json.load(answer)["predictions"]
    return answers


def test_a_bot_of_one_language_is_asked_in_another(run: dict[str, Any]) -> None:
    """Its rows are English; no n-gram of these texts was in them."""
    assert run["state"] == "Succeeded"
    (told,) = [sentence for sentence in run["evaluation"]["headline"] if "sentence vectors" in sentence]
    assert told.startswith("The SVM answers "), "a preset takes the encoder that is installed, and says what it brought"
    told = ask(run["endpoint"]["predict_url"], ["wird es morgen regnen?", "reserva un vuelo", "réveille-moi"])
    surest = [max(answer["probabilities"].items(), key=lambda pair: pair[1]) for answer in told]
    assert [label for label, _ in surest] == ["weather", "flight", "alarm"]


def test_it_is_less_sure_of_what_is_unlike_its_rows_than_its_probability_says(run: dict[str, Any]) -> None:
    near, far = ask(run["endpoint"]["predict_url"], ["will it rain in rome tomorrow", "flight of the bumblebee"])
    assert run["evaluation"]["facts"]["threshold_of"] == "sureness"
    assert (near["label"], near["sureness"]) == ("weather", near["probability"])
    assert (far["label"], far["out_of_scope"]) == (None, True)
    assert far["sureness"] < far["probability"] / 2
