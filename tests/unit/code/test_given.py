"""Replicas, trials and predictors are started with code; stored documents bring none."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shipway import code, modules
from shipway.code.given import GIVEN
from shipway.components.deploy.core import inference_service
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.sweep import experiment
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render, training_of
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.executors.process.ports import free_ports
from shipway.recipes import load_recipe, load_stored_recipe
from shipway.storage import Store
from tests.fixtures import wheels

REF = "s3://shipway/code/{0}/mine-1.0-py3-none-any.whl#sha256={0}".format("a" * 64)
RECIPE = "from tests.fixtures.toy import recipe\n"


def environments(manifest: dict[str, object]) -> list[dict[str, str]]:
    found = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            if "image" in value and "env" in value:
                found.append({each["name"]: each.get("value", "") for each in value["env"]})
            for each in value.values():
                look(each)
        for each in value if isinstance(value, list) else []:
            look(each)

    look(manifest)
    return found


@pytest.mark.parametrize("strategy", ["multi_worker", "horovod"])
def test_every_replica_is_started_with_the_trainings_code(strategy: str) -> None:
    spec = TrainingSpec(name="bot", strategy=strategy, workers=3, code=REF)
    manifest = render(spec, "bot-train", "s3://shipway/datasets/d", store_uri="s3://shipway")
    given = environments(manifest)
    assert len(given) == 2
    assert {each[GIVEN] for each in given} == {REF}
    assert training_of(manifest).spec.code == REF  # the model's manifest says it
    if strategy == "horovod":
        launcher = manifest["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
        assert "-x SHIPWAY_CODE" in " ".join(launcher["command"])
    plain = render(spec.model_copy(update={"code": ""}), "b", "s3://shipway/d", store_uri="s3://shipway")
    assert not any(GIVEN in each for each in environments(plain))


@pytest.mark.parametrize("function", ["", "mine:trial"])
def test_every_trial_is_started_with_the_trainings_code(function: str) -> None:
    training = TrainingSpec(name="bot", code=REF)
    parameters = [{"name": "dim", "parameterType": "discrete", "feasibleSpace": {"list": [8, 16]}}]
    spec = SweepSpec.model_validate(
        {"parameters": parameters, "maxTrialCount": 2, "function": function, "training": training.model_dump()}
    )
    runner = experiment.runner_manifest(spec, "r", "s3://shipway/sweeps/s", "s3://shipway/d", "s3://shipway", 1)
    trial = experiment.trial_template(spec, "s3://shipway/d", "s3://shipway")
    assert [each[GIVEN] for each in environments(runner) + environments(trial)] == [REF, REF]


def test_the_predictor_is_started_with_the_code_that_the_endpoints_spec_names() -> None:
    manifest = inference_service(
        EndpointSpec(name="bot"), endpoint="bot", version=1, model_uri="s3://a/b", model_digest="d" * 64,
        variant_digest="e" * 64,
        recipe="mine:recipe", code=REF, answers={}, store_uri="s3://a", run="r", namespace="n",
    )  # fmt: skip
    assert [each[GIVEN] for each in environments(manifest)] == [REF]


def test_a_spec_takes_no_code_without_its_hash() -> None:
    with pytest.raises(ValueError, match="says no hash, so that nobody knows whose code would run"):
        TrainingSpec(code="s3://shipway/mine-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    "command",
    [
        ["shipway.components.train.worker"],
        ["shipway.components.sweep.worker", "trial"],
        [
            "shipway.components.predict.worker",
            "--model_name=m",
            "--model_uri={store}/m",
            "--model_digest=d",
            "--variant_digest=e",
            "--http_port={port}",
        ],
    ],
)
def test_a_worker_refuses_code_of_another_hash_before_anything_else_of_a_person_is_imported(
    tmp_path: Path, local_store_uri: str, command: list[str]
) -> None:
    """In a folder and home of its own, as a pod has."""
    ref = code.publish(wheels.build(tmp_path), Store.open())
    Store.open().put(ref.uri.removeprefix(f"{local_store_uri}/"), b"other")
    environment = {**os.environ, "SHIPWAY_HOME": str(tmp_path / "pod"), GIVEN: str(ref)}
    words = [word.format(store=local_store_uri, port=free_ports(1)[0]) for word in command]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert f"and {ref.sha256} was asked for" in done.stderr.splitlines()[-1]


def test_a_stored_documents_code_is_used_only_where_somebody_names_it(
    tmp_path: Path, local_store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = str(code.publish(wheels.build(tmp_path, files={"of_the_code.py": RECIPE}), Store.open()))
    name = "of_the_code:recipe"
    with pytest.raises(InvalidSpec, match=r"SHIPWAY_RECIPES=of_the_code:recipe, and for its code SHIPWAY_CODE="):
        load_stored_recipe(name, "model m", code=ref)
    with pytest.raises(InvalidSpec, match=r"No module named 'of_the_code'.*code of a run; if that is yours: set SHIP"):
        load_stored_recipe(name, "model m", [name], code=ref)
    assert modules.code_in_use() == ""
    monkeypatch.setenv(GIVEN, ref)
    assert load_stored_recipe(name, "model m", [name], code=ref).task == "classification"


def test_what_a_document_says_of_its_code_is_one_word_to_a_shell(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"for its code SHIPWAY_CODE='s3://a/\$\(rm -rf ~\)'"):
        load_stored_recipe("a:b", "model m", code="s3://a/$(rm -rf ~)")


def test_a_recipe_that_is_installed_needs_no_code(tmp_path: Path) -> None:
    """As `pip install` leaves it: found in a process that names neither PYTHONPATH nor code."""
    installed = tmp_path / "lib/site-packages"
    with zipfile.ZipFile(wheels.build(tmp_path, files={"of_pip.py": RECIPE})) as archive:
        archive.extractall(installed)
    program = f"import sys; sys.path.append({str(installed)!r}); sys.path.append({str(Path.cwd())!r}); "
    program += "from shipway.recipes import load_recipe; print(load_recipe('of_pip:recipe').task)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "classification", done.stderr


def test_a_module_that_nobody_has_is_told_with_both_ways() -> None:
    with pytest.raises(InvalidSpec, match=r"is its package on PYTHONPATH, or given as code=\?"):
        load_recipe("nobody_has_it:recipe")
