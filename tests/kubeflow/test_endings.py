"""How runs end: by a user's mistake, by a cancel, after a retry; and what is told of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shipway.storage import Store
from tests.kubeflow.conftest import RESOURCES
from tests.kubeflow.place import Place, until

# It would go on for hours, and saves a checkpoint now and then.
ENDLESS = {"training": {"steps": 3_000_000, "checkpoint_steps": 200, "early_stopping": None, "resources": RESOURCES}}


@pytest.fixture(scope="module")
def cancelled(place: Place, published: str, params: list[str]) -> dict[str, Any]:
    """A run that was cancelled while it trained."""
    key = place.submit(published, *params, f"overrides={json.dumps(ENDLESS)}", f"name={place.model}-long")
    (job,) = until(lambda: place.jobs(key), "the job is there")
    until(lambda: steps_taken(job["metadata"]["name"], above=400), "it trains")
    with ThreadPoolExecutor() as pool:
        with place.measured("cancel, until the job is gone", "10 s") as row:
            cancelling = pool.submit(place.shipway, "cancel", key)
            until(lambda: not place.jobs(key), "the job is gone", limit_s=180)
        assert "is stopped" in cancelling.result().stdout
    assert row.seconds <= 10, "its lease had to lapse"
    return {**place.run(key), "job": job["metadata"]["name"]}


def steps_taken(job: str, above: int = 0) -> list[int]:
    """Of a training, as its replicas say it themselves."""
    store = Store.open()
    lines = [line for each in store.list(f"jobs/{job}/progress/") for line in store.get(each.key).splitlines()]
    found = [record["step"] for record in map(json.loads, lines) if "step" in record]
    return found if found and max(found) > above else []


def test_a_wrong_column_is_told_in_one_line_and_tried_once(place: Place, published: str, rows: str) -> None:
    given = [f"name={place.model}-wrong", f"data={rows}", "input_column=utterence", "label_column=intent"]
    with place.measured("a wrong column") as row:
        key = place.submit(published, *given, "preset=quick")
        told = place.shipway("watch", key, code=2)
    row.pods = len(place.pods(key))
    errors = [line for line in told.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, told.stderr
    assert "utterence" in errors[0]
    found = place.run(key)
    assert found["state"] == "Failed"
    assert "utterence" in found["error"]["message"]
    assert {step["state"] for step in found["steps"] if step["title"] in ("Train", "Evaluate", "Register")} == {
        "Skipped"
    }


def test_a_cancelled_run_is_told_as_one(place: Place, cancelled: dict[str, Any]) -> None:
    assert cancelled["state"] == "Cancelled"
    states = {step["title"]: step["state"] for step in cancelled["steps"]}
    assert states["Train"] == "Cancelled", states
    assert states["Judge, register and deploy"] == "Skipped", states
    assert "out of memory" not in json.dumps(cancelled)
    listed = {run["run"]: run["state"] for run in place.json("runs", "list", "--limit", "20")}
    assert listed[cancelled["run"]] == "Cancelled"


def test_a_retry_goes_on_from_the_checkpoint(place: Place, cancelled: dict[str, Any]) -> None:
    key = cancelled["run"]
    place.shipway("retry", key)
    (job,) = until(lambda: place.jobs(key), "another attempt")
    name = job["metadata"]["name"]
    assert name == f"{cancelled['job']}-r1"
    until(lambda: steps_taken(name), "it trains")
    assert min(steps_taken(name)) >= 200
    place.shipway("cancel", key)
    until(lambda: not place.jobs(key), "the job is gone", limit_s=180)
    assert place.run(key)["state"] == "Cancelled"


def test_a_run_that_succeeds_after_a_retry_has_succeeded_everywhere(
    place: Place, published: str, params: list[str], rows: str, first: dict[str, Any]
) -> None:
    data = rows.replace("rows.csv", "late.csv")
    key = place.submit(published, *params, f"data={data}")
    place.shipway("watch", key, code=2)
    assert place.run(key)["state"] == "Failed"
    place.store_rows("late.csv")
    place.shipway("retry", key)
    place.shipway("watch", key)
    found = place.run(key)
    assert (found["state"], found["error"]) == ("Succeeded", None)
    assert {step["state"] for step in found["steps"]} <= {"Succeeded", "Cached"}


def test_a_secret_that_is_not_there_is_found_before_a_pod_starts(place: Place, params: list[str]) -> None:
    secret = f"kft-{place.mark}-none"
    options = ["--version", f"{place.version}-none", "--no-current", "--secret", secret, *place.images]
    done = place.json("publish", "train_and_deploy", *options)
    target = f"{done['pipeline']}@{done['version']}"
    for more in (["--dry-run"], []):
        told = place.shipway("submit", target, *more, "--param", *params, code=2)
        assert secret in told.stderr
        assert "kubectl" in told.stderr
