"""What a recipe must bring, what a training of it may ask for, and in which image it runs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import shipway
from shipway import doctor, images, labels
from shipway.components.sweep import experiment
from shipway.components.sweep.core import check_objective, with_objective
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render
from shipway.components.train.spec import FunctionSpec, TrainingSpec
from shipway.errors import InvalidSpec, UserError
from shipway.executors.process.jobs import read_job
from shipway.planning import find, resolve
from shipway.recipes import load_recipe
from shipway.recipes.own_fit import packages_of
from shipway.specs import parse
from shipway.tasks import load_task
from shipway.training.spec import FitSpec, check_training
from tests.fixtures import fitted, houses

OWN_IMAGE = fitted.trees.image
STORE = "s3://shipway"
KERAS = ("build_model", "compile_model")


def training(**fields: Any) -> TrainingSpec:
    return parse(TrainingSpec, {"name": "rents", "recipe": fitted.TREES, **fields}, "training")


def image_and_root(manifest: dict[str, Any]) -> tuple[str, bool]:
    (container,) = manifest["spec"]["tfReplicaSpecs"]["Chief"]["template"]["spec"]["containers"]
    return container["image"], "readOnlyRootFilesystem" in container["securityContext"]


@pytest.mark.parametrize(
    ("parts", "told"),
    [((), "neither"), (("fit", "predict"), "neither"), ((*KERAS, "fit", "predict", "export"), "both")],
)
def test_a_recipe_has_a_keras_model_or_a_fit_of_its_own(
    parts: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ("name", "task", "input", "EncoderParams", "Params", "fit_encoder", "load_encoder")
    made = {name: getattr(houses.recipe, name) for name in kept} | dict.fromkeys(parts, lambda: None)
    monkeypatch.setattr(houses, "odd", SimpleNamespace(**made), raising=False)
    with pytest.raises(InvalidSpec, match=rf"'tests.fixtures.houses:odd' has {told}: build_model and compile_model"):
        load_recipe("tests.fixtures.houses:odd")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"strategy": "multi_worker", "workers": 2},
            r"training\.strategy: 'multi_worker' needs a tf_keras model \(build_model and compile_model\), and recipe "
            r"'tests\.fixtures\.fitted:trees' fits by itself; expected single\. A recipe names what else it can do: "
            r"strategies = \('single', 'multi_worker'\)",
        ),
        ({"strategy": "horovod", "workers": 2}, r"training\.strategy: 'horovod' needs a tf_keras model"),
        (
            {"strategy": "parameter_server", "workers": 2},
            r"training\.strategy: 'parameter_server' needs a tf_keras model .* fits by itself; expected single$",
        ),
        (
            {"mixed_precision": True},
            r"training\.mixed_precision: recipe .* fits by itself, and only trainings of a tf_k",
        ),
        ({"steps": 5}, r"training\.steps: .* leave it out, or make it one of the recipe's Params"),
        ({"early_stopping": {"metric": "val_f1"}}, r"early_stopping\.metric: .*; expected one of auto, val_rmse"),
    ],
)
def test_what_a_fit_of_its_own_cannot_do_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as refused:
        render(training(**given), "rents-train", "file:///data", store_uri=STORE)
    assert "\n" not in str(refused.value)


def test_a_recipe_may_name_the_strategies_that_it_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    check_training(FitSpec(recipe=fitted.REFERENCE, strategy="multi_worker", workers=2))
    monkeypatch.setattr(houses.HouseRecipe, "strategies", ("single", "mirrored"), raising=False)
    check_training(FitSpec(recipe=houses.REFERENCE, strategy="mirrored"))
    with pytest.raises(InvalidSpec, match=r"houses:recipe' cannot do 'horovod'; expected single or mirrored\."):
        check_training(FitSpec(recipe=houses.REFERENCE, strategy="horovod", workers=2))
    monkeypatch.setattr(fitted.recipe, "strategies", ("single", "parameter_server"), raising=False)
    with pytest.raises(InvalidSpec, match=r"strategies: expected one of single, .* got 'parameter_server'"):
        check_training(FitSpec(recipe=fitted.REFERENCE))
    monkeypatch.setattr(houses.HouseRecipe, "strategies", "mirored")
    with pytest.raises(
        InvalidSpec, match=r"strategies: expected one of single.*got 'mirored' .did you mean 'mirrored'"
    ):
        check_training(FitSpec(recipe=houses.REFERENCE))


def test_a_task_that_cannot_measure_what_is_served_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    regression = load_task("regression")
    kept = {name: getattr(regression, name) for name in ("metrics", "labels", "answers", "evaluation")}
    names = ("metrics", "batch_metrics", "batch", "sums", "totals", "stderr", "calibrate", "serve")
    head = SimpleNamespace(**{name: getattr(regression.head, name) for name in names})
    monkeypatch.setattr(fitted.trees, "task", SimpleNamespace(name="waiting", head=head, **kept), raising=False)
    with pytest.raises(InvalidSpec, match=r"the head of its task 'waiting' lacks served and served_sums"):
        check_training(FitSpec(recipe=fitted.TREES))


def test_a_job_runs_in_the_recipes_image_unless_the_spec_names_one() -> None:
    assert image_and_root(render(training(), "j", "file:///d", store_uri=STORE)) == (OWN_IMAGE, False)
    given = render(training(image="other:2"), "j", "file:///d", store_uri=STORE)
    assert image_and_root(given) == ("other:2", False)
    plain = render(training(recipe=houses.REFERENCE), "j", "file:///d", store_uri=STORE)
    assert image_and_root(plain) == (images.TENSORFLOW, True)
    assert labels.RECIPE_IMAGE not in plain["metadata"]["annotations"]


def test_trials_run_in_the_recipes_image_packed_and_as_jobs() -> None:
    space = {"seed_of_trees": [1, 2]}
    sweep = parse(SweepSpec, {"parameters": space, "training": training().model_dump(mode="json")}, "sweep")
    packed = experiment.runner_manifest(sweep, "runner", f"{STORE}/sweeps/s", "file:///d", STORE, 1)
    single = experiment.trial_template(sweep, "file:///d", STORE)
    assert [image_and_root(manifest)[0] for manifest in (packed, single)] == [OWN_IMAGE] * 2


def test_here_the_runs_own_environment_stands_for_the_image_unless_another_is_named(tmp_path: Path) -> None:
    manifest = render(training(), "rents-train", "file:///d", store_uri=STORE)
    plan, _ = read_job(manifest, "rents-train", 0, {})
    assert plan.python == sys.executable
    other = tmp_path / "python"
    plan, _ = read_job(manifest, "rents-train", 0, {OWN_IMAGE: other})
    assert plan.python == str(other)
    del manifest["metadata"]["annotations"][labels.RECIPE_IMAGE]
    with pytest.raises(InvalidSpec, match="no environment of this machine stands for image"):
        read_job(manifest, "rents-train", 0, {})


def test_a_sweep_asks_for_what_such_a_training_reports() -> None:
    given = {"parameters": {"a": [1, 2]}, "training": training().model_dump(mode="json")}
    assert with_objective(parse(SweepSpec, given, "sweep")).objective.objectiveMetricName == "val_rmse"
    wrong = parse(SweepSpec, {**given, "objective": "minimize mae"}, "sweep")
    with pytest.raises(InvalidSpec, match=r"metric 'mae'; expected one of val_rmse, val_mae, val_r2, val_loss, auto"):
        check_objective(wrong)


def test_a_package_that_is_not_installed_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(packages_of(fitted.recipe)) == {"scikit-learn", "onnx"}
    monkeypatch.setattr(fitted.PassesRecipe, "packages", ("vowpal-of-nobody",))
    plan = find("train_and_deploy").plan
    assert plan is not None
    with pytest.raises(UserError, match=r"it needs vowpal-of-nobody, which is not installed here; install it"):
        plan.check_here({"training": training(recipe=fitted.REFERENCE)})
    with monkeypatch.context() as mapped:
        (tmp_path / "python").symlink_to(sys.executable)
        mapped.setenv("SHIPWAY_ENVIRONMENTS", json.dumps({"vowpal:1": f"{tmp_path}/python"}))
        plan.check_here({"training": training(recipe=fitted.REFERENCE, image="vowpal:1")})
    monkeypatch.setenv("SHIPWAY_EXECUTOR", "kubernetes")
    plan.check_here({"training": training(recipe=fitted.REFERENCE)})  # its image holds it


def test_horovod_that_is_not_installed_is_named_before_anything_starts_from_python_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.setattr(doctor, "_horovod", lambda: doctor.Finding("horovod", "info", "not there", "make horovod"))
    (tmp_path / "rows.csv").write_text("text,label\na,b\nc,d\n")
    with pytest.raises(UserError, match=r"training\.strategy: 'horovod' is not installed here; `make horovod`"):
        shipway.run(
            "train_and_deploy", name="bot", data=f"{tmp_path}/rows.csv", strategy="horovod", workers=2, here=True
        )
    assert not list((tmp_path / "home").glob("runs/*"))
    plan = find("train_function").plan
    assert plan is not None
    with pytest.raises(UserError, match="'horovod' is not installed here"):
        plan.check_here({"training": FunctionSpec(name="f", function="json:dumps", strategy="horovod", workers=2)})


def test_a_strategy_is_chosen_of_those_that_a_recipe_can_do_and_one_that_was_asked_for_refused() -> None:
    given = {"name": "rents", "data": "rows.csv", "recipe": fitted.TREES}
    dataset = {"input": houses.INPUT, "group_column": "group"}
    overrides: dict[str, Any] = {"dataset": dataset, "sweep": {"maxTrialCount": 1}}
    found = resolve(find("train_and_deploy"), {**given, "overrides": overrides}).specs["training"]
    assert (found.strategy, found.workers) == ("single", 1)
    asked = {**given, "strategy": "horovod", "workers": 2, "overrides": overrides}
    with pytest.raises(InvalidSpec, match=re.escape("training.strategy: 'horovod' needs a tf_keras model")):
        resolve(find("train_and_deploy"), asked)
    can = resolve(find("train_and_deploy"), {"name": "l", "data": "l.csv", "recipe": fitted.REFERENCE})
    assert json.loads(can.sections["training"])["strategy"] == "single"
    with pytest.raises(InvalidSpec, match=r"training\.workers: 2, and recipe .* is trained by one worker"):
        resolve(find("train_and_deploy"), {**given, "workers": 2, "overrides": overrides})
