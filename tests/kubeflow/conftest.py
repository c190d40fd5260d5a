"""Tests against a real Kubeflow Pipelines: `make kubeflow-test KFP=http://localhost:8888` (docs/kubeflow.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.storage import Store
from tests.kubeflow.place import Place, table

HOW = (
    "make kubeflow-test KFP=URL needs a Kubeflow (KFP), a kubeconfig, and the cluster's store as this machine reaches "
    "it: SHIPWAY_STORE, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
)
NEEDED = ("SHIPWAY_KFP", "SHIPWAY_STORE")
PIPELINES = str(Path(__file__).with_name("pipelines.py"))
# Two cores may carry Kubeflow, a step, a replica and an endpoint.
RESOURCES = {"cpu": "200m", "memory": "2Gi"}
SMALL = {"training": {"resources": RESOURCES}, "endpoint": {"resources": RESOURCES}}
ROWS = pytest.StashKey[Place]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing and any("/tests/kubeflow/" in str(item.path) for item in items):
        pytest.exit(f"{', '.join(missing)} not set; {HOW}", returncode=2)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    place = config.stash.get(ROWS, None)
    if place is not None and place.rows:
        terminalreporter.section("what it took")
        for line in table(place.rows):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Place]:
    """Kubeflow; what the suite made there is taken away at the end."""
    registry, digests = os.environ.get("REGISTRY"), os.environ.get("DIGESTS")
    images = ["--registry", registry] if registry else ["--no-pin"]
    images += ["--digests", digests] if digests else []
    namespace = os.environ.get("NAMESPACE") or "kubeflow"
    made = Place(namespace, tmp_path_factory.mktemp("user"), images=images)
    pytestconfig.stash[ROWS] = made
    yield made
    if not os.environ.get("SHIPWAY_KEEP"):
        clean(made)


def clean(place: Place) -> None:
    """Schedules, runs, pipeline versions, endpoints and jobs of this session, and what lies in the store."""
    from shipway.remote import connect

    api = connect().api
    for job in api.recurring():
        if place.mark in str(job.display_name):
            api.delete_recurring(job.recurring_run_id)
    for run in api.runs(200):
        if place.mark in str(run.display_name):
            api._runs.run_service_delete_run(run.run_id)
    for pipeline in api.pipelines():
        for version in api.versions(pipeline.pipeline_id):
            if place.mark in str(version.name or version.display_name):
                api._pipelines.pipeline_service_delete_pipeline_version(
                    pipeline.pipeline_id, version.pipeline_version_id
                )
        if place.mark in str(pipeline.name or pipeline.display_name):
            api._pipelines.pipeline_service_delete_pipeline(pipeline.pipeline_id)
    for kind in (f"apis/serving.kserve.io/v1beta1/namespaces/{place.namespace}/inferenceservices",
                 f"apis/kubeflow.org/v1/namespaces/{place.namespace}/tfjobs"):  # fmt: skip
        for item in place.api.get(f"/{kind}")["items"]:
            if item["metadata"]["name"].startswith(place.model):
                place.api.delete(f"/{kind}/{item['metadata']['name']}")
    store = Store.open()
    for prefix in (f"kubeflow-tests/{place.mark}/", f"models/{place.model}"):
        for each in list(store.list(prefix)):
            store.delete(each.key)


@pytest.fixture(scope="session")
def published(place: Place) -> str:
    """`train-and-deploy@version`, published beside whatever is current."""
    options = ["--version", place.version, "--no-current", *place.images]
    done = place.json("publish", "train_and_deploy", *options)
    assert done["is_new"]
    again = place.json("publish", "train_and_deploy", *options)
    assert not again["is_new"]
    assert again["version_id"] == done["version_id"]
    return f"{done['pipeline']}@{done['version']}"


@pytest.fixture(scope="session")
def rows(place: Place) -> str:
    """Address of rows that the cluster sees."""
    return place.store_rows("rows.csv")


@pytest.fixture(scope="session")
def params(place: Place, rows: str) -> list[str]:
    """Of a run that works."""
    return [
        f"name={place.model}", f"data={rows}", "input_column=utterance", "label_column=intent", "strategy=single",
        f"overrides={json.dumps(SMALL)}", "preset=quick",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def first(place: Place, published: str, params: list[str]) -> dict[str, Any]:
    """A `quick` run of everything."""
    with place.measured("quick", "at most 16 pods, 130 s") as row:
        key = place.submit(published, *params)
        place.shipway("watch", key)
    row.pods = len(place.pods(key))
    return place.run(key)


@pytest.fixture(scope="session")
def again(place: Place, first: dict[str, Any]) -> dict[str, Any]:
    """The same run, started again."""
    with place.measured("quick, all cached", "50 s") as row:
        key = place.json("clone", first["run"])["run"]
        place.shipway("watch", key)
    row.pods = len(place.pods(key))
    return place.run(key)
