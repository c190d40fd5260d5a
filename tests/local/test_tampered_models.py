"""A model edited in the store, met by the predictor's process, the command line and a deployment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.artifacts import ModelManifest
from shipway.artifacts.base import SEAL, seal_of
from shipway.components.deploy.core import inference_service
from shipway.components.deploy.rollout import Rollout
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.context import Context
from shipway.errors import CorruptArtifact, InvalidSpec, NotFound
from shipway.executors.process import ProcessExecutor
from shipway.registry import Registry
from shipway.scoring import stored_manifest
from shipway.storage import Store
from tests.fixtures import toy
from tests.fixtures.tampering import REFERENCE, edit, leave_module, swap_variant

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parents[2]


class House:
    """A registered model in a folder as the store, and a folder to work in, where somebody left a module."""

    def __init__(self, store: Path, work: Path) -> None:
        self.store = store
        self.registry = Registry(Store.open(store.as_uri()))
        train = toy.rows(120)
        splits = {"train": train, "eval": toy.rows(40, 1), "test": toy.rows(40, 2)}
        dataset = toy.write_dataset(store / "datasets/d", splits)
        self.model = toy.write_model(store / "jobs/j/model", dataset, train)
        self.work = work
        work.mkdir()
        spec = EvaluationSpec(baselines=[], bootstrap=0)
        evaluation = measure(self.model, dataset, spec, store=self.registry.store, folder=work)
        self.version = self.registry.register(self.model, evaluation=evaluation)
        self.mark = leave_module(work)

    @property
    def manifest(self) -> Path:
        return Path(self.version.model.uri.removeprefix("file://")) / "manifest.json"

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """In that folder, which is also on the path, as a notebook's or a user's is."""
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=self.work, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": f"{self.work}:{ROOT}", **env},
        )  # fmt: skip

    def predictor(self, digest: str, variant: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            "shipway.components.predict.worker", "--model_name=toy", f"--model_uri={self.version.model.uri}",
            f"--model_digest={digest}", f"--variant_digest={variant or self.version.model.served.digest}",
            "--http_port=0", **env,
        )  # fmt: skip


@pytest.fixture
def house(tmp_path: Path, local_store_uri: str) -> House:
    return House(Path(local_store_uri.removeprefix("file://")), tmp_path / "work")


def told(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def test_the_predictor_refuses_an_edited_manifest_and_imports_nothing(house: House) -> None:
    edit(house.manifest, lambda d: d.update(recipe=REFERENCE))
    done = house.predictor(house.version.digest)
    assert (done.returncode, "was edited after it was written" in told(done)) == (1, True)
    edit(house.manifest, lambda d: d.update(recipe=REFERENCE), resealed=True)
    done = house.predictor(house.version.digest)
    assert (done.returncode, "its digest is" in told(done)) == (1, True)
    # Even whoever starts the predictor with the edited model's own digest has not named its recipe.
    done = house.predictor(stored_manifest(house.version.model.uri).digest)
    assert done.returncode == 2
    assert f"names the recipe '{REFERENCE}'" in told(done)
    assert not house.mark.exists()


def test_the_predictor_refuses_a_variant_whose_file_was_swapped(house: House) -> None:
    """The model keeps its digest: what was trained is left as it was stated."""
    graph = toy._onnx(np.zeros((90, 4), dtype=np.float32))
    swapped = swap_variant(house.manifest.parent, graph)
    assert swapped.digest == house.version.digest
    done = house.predictor(house.version.digest)
    assert (done.returncode, "the digest of its variant onnx is" in told(done)) == (1, True)
    house.manifest.write_text(house.version.model.to_json(), encoding="utf-8")
    done = house.predictor(house.version.digest, SHIPWAY_HOME=str(house.work / "home"))  # which keeps no copy of it
    assert (done.returncode, "its manifest says" in told(done)) == (1, True)


def test_the_predictor_starts_with_no_model_that_is_not_pinned(house: House) -> None:
    done = house.run("shipway.components.predict.worker", "--model_name=toy", f"--model_uri={house.version.model.uri}")
    assert done.returncode == 2
    assert "--model_digest, --variant_digest" in done.stderr


def test_a_deployment_holds_against_the_evaluation_of_what_the_version_serves(house: House) -> None:
    """A given one may be of an equal training's other bytes; of another model it is refused."""
    own = house.version.evaluation
    assert own is not None
    settings = own.model_copy(update={"settings": {"threshold": 0.1}})
    other = settings.model_copy(update={"variant_digest": "0" * 64})
    executor, spec = ProcessExecutor(Context.current()), EndpointSpec(name="toy")
    version = house.registry.get("toy", 1)
    assert Rollout(spec, version, executor, house.registry, settings).evaluation == settings
    assert Rollout(spec, version, executor, house.registry, other).evaluation == own
    with pytest.raises(InvalidSpec, match="it is of model 000"):
        Rollout(spec, version, executor, house.registry, own.model_copy(update={"model_digest": "0" * 64}))
    bare = version.model_copy(update={"evaluation": None})
    with pytest.raises(NotFound, match="no evaluation of its variant onnx"):
        Rollout(spec, bare, executor, house.registry, other)


def test_a_port_that_somebody_has_is_said_in_one_line(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = house.run(
            "shipway.components.predict.worker", "--model_name=toy", f"--model_uri={house.version.model.uri}",
            f"--model_digest={house.version.digest}", f"--variant_digest={house.version.model.served.digest}",
            f"--http_port={port}",
        )  # fmt: skip
    assert (done.returncode, told(done)) == (2, f"error: --http_port {port}: Address already in use; give another")


def test_the_predictor_reads_files_of_no_other_place_than_its_own(house: House) -> None:
    edit(house.manifest, lambda d: d.update(uri=house.model.uri), resealed=True)
    done = house.predictor(house.version.digest)
    assert (done.returncode, "its manifest names the files at" in told(done)) == (1, True)


def _everywhere(house: House) -> ModelManifest:
    """The recipe in the manifest, the version and the candidate's pin, all of it sealed anew and moved to its place."""
    evil = house.model.model_copy(update={"recipe": REFERENCE})
    edit(house.store / "jobs/j/model/manifest.json", lambda d: d.update(recipe=REFERENCE), resealed=True)
    record = house.version.evaluation
    assert record is not None
    house.registry.register(evil, evaluation=record.model_copy(update={"model_digest": evil.digest}))
    return evil


def test_the_command_line_deploys_no_recipe_that_nobody_named(house: House) -> None:
    _everywhere(house)
    done = house.run("shipway", "endpoints", "deploy", "toy", "latest", SHIPWAY_EXECUTOR="process")
    assert done.returncode == 2
    assert f"SHIPWAY_RECIPES={REFERENCE}" in done.stderr
    assert "Traceback" not in done.stderr
    for command in (["list"], ["show", "toy"], ["diff", "toy", "1", "2"], ["promote", "toy", "2"]):
        assert house.run("shipway", "models", *command).returncode == 0
    assert not house.mark.exists()


def test_the_command_line_says_which_version_cannot_be_used_and_lists_the_others(house: House) -> None:
    edit(house.store / "models/toy/versions/1.json", lambda d: d["model"].update(temperature=9.0))
    done = house.run("shipway", "models", "list")
    assert done.returncode == 0
    assert "cannot be used" in done.stdout
    done = house.run("shipway", "models", "show", "toy", "1")
    assert done.returncode == 1
    assert "was edited after it was written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_deployment_names_the_recipe_and_the_digest_that_were_registered(house: House) -> None:
    manifest = inference_service(
        EndpointSpec(name="toy"), endpoint="toy", version=1, model_uri="s3://a/b", model_digest="d" * 64,
        variant_digest="e" * 64, recipe=house.version.model.recipe, answers={}, store_uri="s3://a",
        run="r", namespace="n",
    )  # fmt: skip
    container = manifest["spec"]["predictor"]["containers"][0]
    assert {"name": "SHIPWAY_RECIPES", "value": toy.REFERENCE} in container["env"]
    assert {f"--model_digest={'d' * 64}", f"--variant_digest={'e' * 64}"} <= set(container["args"])
    assert manifest["metadata"]["annotations"]["shipway.dev/model-digest"] == "d" * 64


def test_an_edited_record_of_an_endpoint_is_not_believed(house: House) -> None:
    rollout, store = _rollout(house), house.registry.store
    record: dict[str, Any] = {"version": 1, "spec": {"name": "toy", "image": "evil"}}
    store.put("endpoints/toy.json", json.dumps({**record, SEAL: seal_of({"version": 1})}).encode())
    with pytest.raises(CorruptArtifact, match=r"endpoints/toy\.json .*was edited after it was written"):
        rollout.run()
    store.put("endpoints/toy.json", json.dumps(record).encode())
    assert rollout._recorded()[0] == {}


def test_what_is_brought_back_runs_nothing_that_stands_in_the_store(house: House) -> None:
    """Whoever writes the record can seal it, too; it once held a whole manifest, command and image."""
    rollout, digest = _rollout(house), house.registry.get("toy", 1).digest
    evil = {"metadata": {"name": "toy"}, "spec": {"predictor": {"containers": [{"command": ["touch", "/tmp/x"]}]}}}
    said = {
        "name": "other",
        "image": "evil",
        "service_account": "somebody-elses",
        "recipes": ["evil:recipe"],
        "port": 18080,
    }
    record: dict[str, Any] = {
        "version": 1, "digest": digest, "variant_digest": house.version.model.served.digest, "manifest": evil,
        "spec": said, "answers": {},
    }  # fmt: skip
    house.registry.store.put("endpoints/toy.json", json.dumps({**record, SEAL: seal_of(record)}).encode())
    manifest = rollout._before(rollout._recorded()[0])
    ours = rollout._manifest("toy", rollout.spec, rollout.version, {})
    assert manifest["spec"]["predictor"]["containers"][0]["command"] == [
        "python", "-m", "shipway.components.predict.worker"
    ]  # fmt: skip
    assert "evil" not in json.dumps(manifest)
    assert "somebody-elses" not in json.dumps(manifest)
    assert manifest["metadata"]["name"] == ours["metadata"]["name"]
    assert manifest["metadata"]["annotations"]["shipway.dev/local-port"] == "18080"
    with pytest.raises(CorruptArtifact, match="it is not about version 1"):
        rollout._before({**record, "digest": "0" * 64})
    with pytest.raises(CorruptArtifact, match="it is not about version 1"):
        rollout._before({**record, "variant_digest": "0" * 64})


def test_a_version_of_a_recipe_that_nobody_named_is_not_deployed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIPWAY_RECIPES")
    with pytest.raises(InvalidSpec, match="not allowed here"):
        _rollout(house)
    _rollout(house, recipes=[toy.REFERENCE])


def _rollout(house: House, **changes: Any) -> Rollout:
    spec = EndpointSpec(name="toy", check_rows=4, **changes)
    return Rollout(spec, house.registry.get("toy", 1), ProcessExecutor(Context.current()), house.registry)
