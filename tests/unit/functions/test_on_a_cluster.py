"""On a cluster: the source goes to its store by hash, and pods of the shipped images are told where it lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shipway
from shipway import images
from shipway.code.given import GIVEN
from shipway.components.sweep.experiment import runner_manifest
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render_function
from shipway.components.train.spec import FunctionSpec
from shipway.errors import InvalidSpec
from shipway.remote import Connection, connect, submit
from shipway.specs import parse
from shipway.storage import Store
from tests.fixtures import own_functions as own
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import DIGESTS, FAST

CODE = f"s3://team/code/{'a' * 64}/code.zip#sha256={'a' * 64}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpServer]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with KfpServer() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer) -> Connection:
    connection = connect(server.url, patience=FAST)
    for pipeline in ("sweep_function", "train_function"):
        connection.publish(pipeline, digests=DIGESTS)
    return connection


def test_a_sweep_on_kubeflow_names_its_source_by_hash_and_puts_it_into_the_store(
    kubeflow: Connection, server: KfpServer, local_store_uri: str
) -> None:
    sweep = shipway.sweep(own.bowl, {"learning_rate": [0.1, 0.2]}, kfp=kubeflow, wait=False)
    (kept,) = server.state.runs.values()
    params = kept.runtime_config.parameters
    assert params["function"] == "own_bowl:bowl"
    assert params["objective"] == "maximize accuracy"
    assert params["space"] == {"learning_rate": [0.1, 0.2]}
    address, _, digest = params["code"].partition("#sha256=")
    assert address == f"{local_store_uri}/code/{digest}/code.zip"
    assert b"def bowl" in Store.open().get(f"code/{digest}/code.zip")
    assert sweep.run.key in server.state.runs
    assert len(json.dumps(params)) < 10_000  # what Kubeflow takes


def test_an_event_that_comes_twice_starts_one_sweep(
    kubeflow: Connection, server: KfpServer, local_store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "SETTLE_S", 0.0)
    for is_new in (True, False):
        sweep = shipway.sweep(
            own.bowl, {"learning_rate": [0.1]}, kfp=kubeflow, key="upload-7", started_by="a bucket", wait=False
        )
        assert (sweep.run.is_new, sweep.run.started_by) == (is_new, "a bucket")
    assert len(server.state.runs) == 1


def test_a_training_on_kubeflow_takes_no_path_of_this_machine(
    kubeflow: Connection, server: KfpServer, local_store_uri: str
) -> None:
    with pytest.raises(InvalidSpec, match=r"data\.rows: 'rows.csv' is a path on this machine, which the cluster"):
        shipway.train(own.survives, {"epochs": 1}, data={"rows": "rows.csv"}, kfp=kubeflow)
    shipway.train(own.survives, {"epochs": 1}, data={"rows": "s3://b/rows.csv"}, workers=2, kfp=kubeflow, wait=False)
    (kept,) = server.state.runs.values()
    params = kept.runtime_config.parameters
    assert (params["strategy"], params["workers"], params["params"]) == ("multi_worker", 2, {"epochs": 1})


def test_without_a_store_of_the_cluster_nothing_is_submitted(
    kubeflow: Connection, server: KfpServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHIPWAY_STORE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidSpec, match="lies on this machine, which the cluster does not see"):
        shipway.sweep(own.bowl, {"learning_rate": [0.1]}, kfp=kubeflow)
    assert server.state.runs == {}


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    spec = manifest["spec"]
    replicas = spec.get("tfReplicaSpecs") or spec["mpiReplicaSpecs"]
    return [container for replica in replicas.values() for container in replica["template"]["spec"]["containers"]]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def test_a_trials_pod_runs_the_shipped_image_and_is_told_code_and_function() -> None:
    document = {"objective": "maximize accuracy", "parameters": {"learning_rate": [0.1, 0.2]},
                "function": "own_bowl:bowl", "training": {"name": "bowl", "code": CODE}}  # fmt: skip
    manifest = runner_manifest(parse(SweepSpec, document), "s-w0-1", "s3://team/sweeps/s", "", "s3://team", 0)
    [container] = containers(manifest)
    assert container["image"] == images.TENSORFLOW
    given = environment(container)
    assert given[GIVEN] == CODE
    request = json.loads(given["SHIPWAY_TRIAL"])
    assert request["function"] == "shipway.functions.calling:run_trial"
    assert request["document"]["function"] == "own_bowl:bowl"
    assert request["document"]["params"] == {"learning_rate": {"$param": "learning_rate"}}
    assert "def bowl" not in json.dumps(manifest)


@pytest.mark.parametrize(
    ("strategy", "kind", "image", "roles"),
    [
        ("multi_worker", "TFJob", images.TENSORFLOW, {"Chief": 1, "Worker": 3}),
        ("horovod", "MPIJob", images.HOROVOD, {"Launcher": 1, "Worker": 4}),
    ],
)
def test_a_trainings_replicas_call_the_function(strategy: str, kind: str, image: str, roles: dict[str, int]) -> None:
    spec = parse(FunctionSpec, {"name": "fit", "function": "own_fit:fit", "code": CODE, "params": {"epochs": 2},
                                "strategy": strategy, "workers": 4, "resources": {"gpu": 1}})  # fmt: skip
    manifest = render_function(spec, "fit-train-1", store_uri="s3://team")
    replicas = manifest["spec"].get("tfReplicaSpecs") or manifest["spec"]["mpiReplicaSpecs"]
    assert manifest["kind"] == kind
    assert {role: replica["replicas"] for role, replica in replicas.items()} == roles
    for container in containers(manifest):
        assert container["image"] == image
        given = environment(container)
        assert given[GIVEN] == CODE
        asked = json.loads(given["SHIPWAY_FUNCTION"])
        assert (asked["function"], asked["params"]) == ("own_fit:fit", {"epochs": 2})
        assert asked["output_uri"] == "s3://team/jobs/fit-train-1"
    commands = [" ".join(each["command"]) for each in containers(manifest) if "command" in each]
    assert all(command.endswith("python -m shipway.functions.replica") for command in commands)
