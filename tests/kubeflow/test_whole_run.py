"""From a stranger's CSV to an endpoint that answers, and everything that a person then looks at."""

from __future__ import annotations

import os
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.kubeflow.place import Place

TITLES = [
    "Check the configuration", "Prepare the dataset", "Search hyperparameters", "Train", "Evaluate",
    "Judge against the champion", "Register", "Deploy and check", "Tell how it went",
]  # fmt: skip
REPORTS = {"Dataset", "Evaluation", "Decision", "Model card", "Deployment", "Run summary"}
CACHED = ("Prepare the dataset", "Search hyperparameters", "Train", "Evaluate")


def states(run: dict[str, Any]) -> dict[str, str]:
    return {step["title"]: step["state"] for step in run["steps"]}


def test_doctor_finds_all_that_a_run_needs(place: Place) -> None:
    found = place.json("doctor", "--cluster", "--namespace", place.namespace)
    assert found["ok"], [finding for finding in found["findings"] if finding["state"] == "missing"]
    by_name = {finding["what"]: finding for finding in found["findings"]}
    assert by_name["storage from a step"]["state"] == "ok", by_name["storage from a step"]


@pytest.mark.proves(recipe="intents", strategy="single", executor="kubernetes")
def test_a_quick_run_ends_well_in_at_most_sixteen_pods(place: Place, first: dict[str, Any]) -> None:
    assert first["state"] == "Succeeded"
    assert states(first) == dict.fromkeys(TITLES, "Succeeded"), "its steps, by their titles, and nothing else"
    assert first["decision"]["decision"] == "blessed"
    assert len(place.pods(first["run"])) <= 16


def test_the_endpoint_answers_from_here(place: Place, first: dict[str, Any]) -> None:
    answer = place.json("predict", place.model, "fly me to madrid tonight")
    assert "flight" in str(answer)


def test_the_same_again_takes_the_cached_steps_with_all_they_found(
    place: Place, first: dict[str, Any], again: dict[str, Any]
) -> None:
    assert again["state"] == "Succeeded"
    assert {title: states(again)[title] for title in CACHED} == dict.fromkeys(CACHED, "Cached")
    assert again["evaluation"]["metrics"] == first["evaluation"]["metrics"]
    assert set(again["reports"]) >= REPORTS
    assert again["model"] == first["model"]
    assert len(place.pods(again["run"])) <= 12


def test_logs_of_a_step_are_found_by_its_title_and_hold_what_it_said(place: Place, first: dict[str, Any]) -> None:
    for name in ("Train", "job", "Prepare the dataset"):
        said = place.shipway("logs", first["run"], name).stdout
        assert "executorInput" not in said
        assert '"parameterValues"' not in said
    wrong = place.shipway("logs", first["run"], "Trian", code=2)
    assert "did you mean 'Train'" in wrong.stderr


def test_artifacts_and_reports_are_there(place: Place, first: dict[str, Any]) -> None:
    made = place.json("artifacts", first["run"])
    assert any(row["uri"].startswith(os.environ["SHIPWAY_STORE"]) for row in made)
    place.shipway("reports", "open", first["run"], "--no-browser", "--out", "pages")
    pages = {path.name for path in (place.folder / "pages").iterdir()}
    assert len(pages) >= len(REPORTS)
    assert all(path.read_text(encoding="utf-8").startswith("<!") for path in (place.folder / "pages").glob("*.html"))


def test_runs_are_listed_with_the_evaluations_accuracy_and_compared(
    place: Place, first: dict[str, Any], again: dict[str, Any]
) -> None:
    listed = {run["run"]: run for run in place.json("runs", "list", "--limit", "20")}
    accuracy = first["evaluation"]["metrics"]["accuracy"]
    assert listed[first["run"]]["metrics"]["test_accuracy"] == accuracy
    compared = place.json("runs", "compare", first["run"], again["run"])
    assert compared["tables"]["metric"]["accuracy"] == [accuracy, accuracy]


def test_a_notebook_submits_and_waits(place: Place, published: str, params: list[str]) -> None:
    pairs = dict(pair.split("=", 1) for pair in params)
    overrides = pairs.pop("overrides")
    code = f"""
import json, shipway
kubeflow = shipway.connect()
run = kubeflow.submit({published!r}, {pairs!r}, overrides=json.loads({overrides!r}))
run.wait()
run.raise_for_state()
print(run.state, run.metrics["test_accuracy"], len(run.report("Evaluation")) > 1000, "Train" in run._repr_html_())
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with place.measured("a notebook's run, all cached"):
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(place.folder)}}).execute()
    said = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert said.split()[0] == "Succeeded", said
    assert said.split()[2:] == ["True", "True"], said
