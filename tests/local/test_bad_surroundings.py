"""Mistakes that need a served model, a taken port or a small disk; what is asked of the answer is test_bad_input's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.executors.process.service_manifest import LOCAL_PORT
from shipway.recipes.base import ALLOWED
from shipway.registry import Registry
from shipway.storage import Store, open_folder
from tests.fixtures import toy
from tests.fixtures.bad_input import JOB, Case, Place, check
from tests.fixtures.tiny_model import SPEC, Tiny
from tests.local.test_endpoints import ROOT

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: bad, annotations: {{{annotation}: "{port}"}}}}
spec:
  predictor:
    containers: [{{name: p, image: ghcr.io/shipway/python-predictor:0.1.0, command: ["sleep", "60"]}}]
"""


@pytest.fixture(scope="module")
def served(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A registered model with an endpoint of its own, deployed by the command."""
    folder = tmp_path_factory.mktemp("toy")
    environment = {
        **place.environment,
        "PYTHONPATH": str(ROOT),
        ALLOWED: toy.REFERENCE,
        "SHIPWAY_HOME": str(folder / "home"),
        "SHIPWAY_STORE": f"s3://shipway/served-{uuid.uuid4().hex[:12]}",
    }
    train = toy.rows(200)
    with patch.dict(os.environ, environment):
        splits = {"train": train, "eval": toy.rows(60, 1), "test": toy.rows(60, 2)}
        dataset = toy.write_dataset(folder / "dataset", splits)
        model = toy.write_model(folder / "model", dataset, train)
        (folder / "scratch").mkdir()
        wanted = EvaluationSpec(baselines=[], bootstrap=0)
        record = measure(model, dataset, wanted, store=Store.open(), folder=folder / "scratch")
        Registry().register(model, evaluation=record)
    here = Place(environment, place.site)
    deployed = here.shipway(folder, "endpoints deploy toy 1 --json")
    assert deployed.returncode == 0, deployed.stderr
    yield here
    here.shipway(folder, "endpoints stop toy")


SERVED = [
    Case("an endpoint misspelt", "predict tyo hello", ("'tyo'", "running: toy", "did you mean 'toy'")),
    Case("a text that is too long", f"predict toy {'x' * 10_001}", ("10001 characters", "at most 10000 are allowed")),
    Case("a version that is not there", "models show toy 9", ("no version '9'", "expected one of 1, latest")),
    Case("an alias misspelt", "models promote toy candidte", ("'candidte'", "candidate")),
    Case("no earlier champion", "models rollback toy", ("toy",)),
    Case("a model misspelt", "endpoints deploy tyo", ("'tyo'", "known names: toy", "did you mean 'toy'")),
]


@pytest.mark.heavy
@pytest.mark.xdist_group("served_bad_input")
def test_a_mistake_about_a_served_model_is_one_line(served: Place, tmp_path: Path) -> None:
    for case in SERVED:  # one test: the endpoint they share is dearer than all of them
        served.refuse(case, tmp_path)


@pytest.mark.heavy
@pytest.mark.xdist_group("served_bad_input")
def test_a_model_whose_file_was_changed_is_never_served(served: Place, tmp_path: Path) -> None:
    with patch.dict(os.environ, served.environment):
        store, registry = Store.open(), Registry()
        found = registry.get("toy", 1).model
        name = next(file.path for file in found.files if file.path.endswith(".onnx"))
        key = f"{found.uri.removeprefix(store.uri).strip('/')}/{name}"
        good = store.get(key)
        store.put(key, good[:-1] + bytes([good[-1] ^ 1]))
    (tmp_path / "home").mkdir()
    elsewhere = {"SHIPWAY_HOME": str(tmp_path / "home")}
    try:
        done = served.shipway(tmp_path, "endpoints deploy toy 1 --json", **elsewhere)
        check(done, (name, "sha256", "manifest"), code=1)
        [listed] = json.loads(served.shipway(tmp_path, "endpoints list --json", **elsewhere).stdout)
        assert listed["state"] != "Ready"
        answer = served.shipway(tmp_path, "predict toy w2_1 --json")
        assert answer.returncode == 0, answer.stderr
    finally:
        served.shipway(tmp_path, "down", **elsewhere)
        with patch.dict(os.environ, served.environment):
            store.put(key, good)


def test_a_port_that_is_taken_is_named(place: Place, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        manifest = SERVICE.format(annotation=LOCAL_PORT, port=port)
        told = (f"port {port} is in use", "give another one")
        place.refuse(Case("port in use", "job run m.yaml", told, {"m.yaml": manifest}), tmp_path)


def test_a_job_that_fails_says_which_replica_and_ends_with_1(place: Place, tmp_path: Path) -> None:
    failing = JOB.replace('["true"]', '["python", "-c", "print(7); raise SystemExit(3)"]')
    (tmp_path / "m.yaml").write_text(failing.replace("name: bad", "name: failing"))  # its record stays in the store
    done = place.shipway(tmp_path, "job run m.yaml --json", SHIPWAY_HOME=str(tmp_path / "home"))
    check(done, ("TFJob failing failed", "worker-0 failed first", "exit code 3"), code=1)
    assert json.loads(done.stdout)["error"]["last_lines"] == ["7"]


@pytest.mark.heavy
@pytest.mark.xdist_group("tensorflow")
def test_a_corrupted_shard_is_named_and_nothing_is_trained(tiny: Tiny, place: Place, tmp_path: Path) -> None:
    root = place.environment["SHIPWAY_STORE"]
    uri = f"{root}/datasets/damaged"
    with patch.dict(os.environ, place.environment):
        source, store = open_folder(tiny.dataset.uri), open_folder(uri)
        for info in source.list():
            data = source.get(info.key)
            if info.key.startswith("train/"):
                data = data[:-1] + bytes([data[-1] ^ 1])
            if info.key == "manifest.json":
                data = tiny.dataset.model_copy(update={"uri": uri}).to_json().encode()
            store.put(info.key, data)
    training = json.dumps({"spec": SPEC, "dataset_uri": uri, "output_uri": f"{root}/jobs/damaged"})
    manifest = yaml.safe_load(JOB.replace("name: bad", "name: damaged"))
    [container] = manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    container["command"] = ["python", "-m", "shipway.components.train.worker"]
    container["env"] = [{"name": "SHIPWAY_TRAINING", "value": training}, {"name": "SHIPWAY_JOB", "value": "damaged"}]
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(manifest))
    done = place.shipway(tmp_path, "job run m.yaml --json", SHIPWAY_HOME=str(tmp_path / "home"))
    check(done, ("TFJob damaged failed", "worker-0 failed first"), code=1)
    assert any("train/" in line and "sha256" in line for line in json.loads(done.stdout)["error"]["last_lines"])
    assert not [key for key in place.store() if key.startswith("jobs/damaged/model")]


@pytest.mark.parametrize("typed", ["run train_and_deploy --local --param name=bot data=rows.csv", "job run m.yaml"])
def test_a_home_on_a_full_disk_is_said_and_nothing_is_begun(
    typed: str, place: Place, small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    disk = small_disk(1)
    (disk / "home").mkdir()
    fill(disk)
    case = Case("full", typed, (str(disk), "o space left on", "free some and run again"), {"m.yaml": JOB}, code=1,
                env={"SHIPWAY_HOME": str(disk / "home")})  # fmt: skip
    place.refuse(case, tmp_path)


def test_a_full_store_is_said_and_keeps_no_half_object(
    place: Place, small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    disk = small_disk(1)
    case = Case("full", "store cp ./big kept/big", (str(disk), "no space left on the disk", "free some"),
                {"big": bytes(3 << 20)}, env={"SHIPWAY_STORE": f"file://{disk}"}, code=1)  # fmt: skip
    place.refuse(case, tmp_path)
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_a_read_only_home_is_said(place: Place, small_disk: Callable[[int], Path], tmp_path: Path) -> None:
    disk = small_disk(1)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    case = Case("ro", "job run m.yaml", ("SHIPWAY_HOME", str(disk), "set SHIPWAY_HOME"), {"m.yaml": JOB},
                env={"SHIPWAY_HOME": str(disk)})  # fmt: skip
    place.refuse(case, tmp_path)


def fill(disk: Path) -> None:
    """Leaves no byte."""
    free = os.statvfs(disk)
    with open(disk / "fill", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize)
