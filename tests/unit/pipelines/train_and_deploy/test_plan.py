"""What the plan of train_and_deploy takes, refuses and fingerprints."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway.canonical import sha256_hex
from shipway.code import pin
from shipway.errors import InvalidSpec
from shipway.local.prepared import prepare
from shipway.planning import find, resolve
from shipway.planning.presets import presets
from shipway.planning.step import plan_step
from shipway.storage import Store

PIPELINE = find("train_and_deploy")
RECIPE = """
from pydantic import BaseModel
from shipway.recipes import load_recipe


class Params(BaseModel):
    width: int = 8


class Mine:
    def __init__(self):
        self.intents = load_recipe("intents")
        self.name, self.EncoderParams, self.Params = "mine", self.intents.EncoderParams, Params

    def __getattr__(self, name):
        return getattr(self.intents, name)


recipe = Mine()
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nhello,greet\nbye,part\n")
    return path


def params(csv: Path, **more: Any) -> dict[str, Any]:
    return {"name": "my-bot", "data": str(csv), **more}


def specs(csv: Path, **more: Any) -> Mapping[str, Any]:
    return resolve(PIPELINE, params(csv, **more)).specs


def outputs(csv: Path, **more: Any) -> dict[str, str]:
    return resolve(PIPELINE, params(csv, **more)).outputs


@pytest.mark.parametrize("preset", presets(PIPELINE.folder or Path()))
def test_every_preset_is_valid(csv: Path, preset: str) -> None:
    assert PIPELINE.plan is not None
    assert set(specs(csv, preset=preset)) == set(PIPELINE.plan.sections)


def test_flat_parameters_win_over_overrides_and_those_over_the_preset(csv: Path) -> None:
    found = specs(csv, epochs=3, overrides={"training": {"epochs": 5, "batch_size": 32}})
    training = found["training"].model_dump()
    assert (training["epochs"], training["batch_size"], training["workers"]) == (3, 32, 1)


def test_one_document_from_the_ui_yaml_and_python_has_one_hash(csv: Path) -> None:
    python = {"training": {"batch_size": 64, "params": {"dim": 32}}, "sweep": {"maxTrialCount": 3}}
    from_yaml = yaml.safe_load("training: {batch_size: 64, params: {dim: 32}}\nsweep: {maxTrialCount: 3}")
    # KFP turns every number of a dict parameter into a float, and the order of keys is nobody's promise.
    from_ui = {"sweep": {"maxTrialCount": 3.0}, "training": {"params": {"dim": 32.0}, "batch_size": 64.0}}
    as_text = json.dumps(python)
    plans = {sha256_hex(json.dumps(outputs(csv, overrides=given))) for given in (python, from_yaml, from_ui, as_text)}
    assert len(plans) == 1


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("maximize val_acuracy", r"sweep\.objective\.objectiveMetricName: .*did you mean 'val_accuracy'\?"),
        ({"objectiveMetricName": "f1"}, "expected one of val_accuracy, val_loss, accuracy, loss"),
        ({"objectiveMetricName": "steps"}, "no training reports a metric 'steps'"),
        ({"additionalMetricNames": ["val_los"]}, r"additionalMetricNames\[0\]: .*did you mean 'val_loss'\?"),
        ({"metricStrategies": [{"name": "acc", "value": "max"}]}, r"metricStrategies\[0\]\.name: .*'acc'"),
    ],
)
def test_a_metric_that_no_training_reports_is_refused(csv: Path, objective: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        resolve(PIPELINE, params(csv, overrides={"sweep": {"objective": objective}}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overrides": {"dataset": {"slices": ["a"]}}}, "give overrides.evaluation.slices"),
        ({"webhook": "hooks.example.com/T0"}, "webhook: not an address"),
        ({"webhook": "ftp://hooks.example.com"}, "webhook: not an address"),
        ({"webhook": "https://"}, "webhook: not an address"),
        ({"webhook": "https://h:99999/x"}, "webhook: not an address"),
        ({"webhook": "https://a b/x"}, "webhook: not an address"),
        ({"webhook": " https://h/x"}, "webhook: not an address"),
        ({"name": "x-candidate"}, "name: 'x-candidate' ends with '-candidate'"),
        ({"overrides": {"endpoint": {"name": "other"}}}, r"overrides\.endpoint\.name: .*got 'other'.*give name=other"),
        ({"overrides": {"training": {"name": "other"}}}, r"overrides\.training\.name: .*, got 'other'"),
        ({"overrides": {"dataset": {"data": "o.csv"}}}, r"overrides\.dataset\.data: .*got 'o\.csv'.*give data=o\.csv"),
        ({"overrides": {"sweep": {"training": {"epochs": 3}}}}, r"overrides\.sweep\.training: .*overrides\.training"),
        ({"overrides": '{"training": {"seed": 1, "seed": 2}}'}, "the key 'seed' stands twice, in line 1"),
        ({"overrides": "training:\n  seed: 1\n  seed: 2"},
         "overrides: the key 'seed' stands twice, in line 2 and in line 3"),
        ({"overrides": {"training": None}}, r"overrides\.training: expected a mapping of fields, got None"),
        ({"overrides": {"training": {"batch_size": None}}}, r"training\.batch_size: .*got None"),
        ({"overrides": {"training": {"params": {"droput": 0.1}}}},
         r"training\.params\.droput: .*did you mean 'dropout'"),
        ({"overrides": {"training": {"resources": {"memry": "1Gi"}}}}, "did you mean 'memory'"),
        ({"overrides": {"endpoint": {"resources": {"memry": "1Gi"}}}}, "did you mean 'memory'"),
        ({"overrides": {"dataset": {"encoder": {"min_cont": 2}}}}, "did you mean 'min_count'"),
        ({"overrides": {"promotion": {"champion": {"no_worse_than": [{"metrik": "accuracy"}]}}}},
         "did you mean 'metric'"),
        ({"overrides": {"sweep": {"objective": {"gaol": 1}}}}, "did you mean 'goal'"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_or_found_late_is_refused_in_one_line(
    csv: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message) as refused:
        resolve(PIPELINE, params(csv, **more))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"training": {"early_stopping": None}},
        {"sweep": {"earlyStopping": None, "trial_deadline_s": None}},
        {"endpoint": {"answers": {"threshold": None}, "port": None, "name": "my-bot"}},
        {"promotion": {"champion": {"significance": None}}},
    ],
)
def test_null_is_a_value_where_the_spec_has_it(csv: Path, overrides: dict[str, Any]) -> None:
    as_text = json.dumps(overrides)
    plans = {json.dumps(outputs(csv, overrides=given)) for given in (overrides, as_text, yaml.safe_dump(overrides))}
    assert len(plans) == 1
    assert specs(csv, overrides={"training": {"early_stopping": None}})["training"].early_stopping is None


def test_an_address_that_is_a_secret_is_not_told(csv: Path) -> None:
    with pytest.raises(InvalidSpec) as refused:
        resolve(PIPELINE, params(csv, webhook="hooks.example.com/SECRET"))
    assert "SECRET" not in str(refused.value)


def test_a_csv_edited_in_place_changes_the_datas_fingerprint_alone(csv: Path) -> None:
    before = outputs(csv)
    csv.write_text("text,label\nhallo,greet\nbye,part\n")
    after = outputs(csv)
    assert {**after, "data_fingerprint": before["data_fingerprint"]} == before
    assert after["data_fingerprint"] != before["data_fingerprint"]


def test_an_edited_recipe_changes_the_codes_fingerprint_alone(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "my_recipe.py"
    source.write_text(RECIPE)
    monkeypatch.syspath_prepend(tmp_path)
    given = params(csv, recipe="my_recipe:recipe")
    before = resolve(PIPELINE, given).outputs
    assert resolve(PIPELINE, given).outputs == before
    source.write_text(RECIPE + "\n# another thought\n")
    after = resolve(PIPELINE, given).outputs
    assert {**after, "code_fingerprint": before["code_fingerprint"]} == before
    assert after["code_fingerprint"] != before["code_fingerprint"]
    sys.modules.pop("my_recipe")


def test_code_reaches_every_section_whose_step_loads_the_recipe_and_its_bytes_are_what_counts(
    csv: Path, tmp_path: Path, local_store_uri: str
) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "coded_recipe.py").write_text(RECIPE)
    given = params(csv, recipe="coded_recipe:recipe", code=str(folder))
    found = resolve(PIPELINE, given)
    before = found.outputs
    pinned = pin(str(folder))
    for name, spec in found.specs.items():
        assert (spec.training if name == "sweep" else spec).code == pinned, name
    assert resolve(PIPELINE, {**given, "code": pinned}).outputs == before
    (folder / "beside.py").write_text("# what it may import")
    after = resolve(PIPELINE, given).outputs
    assert after["code_fingerprint"] != before["code_fingerprint"]
    assert after["data_fingerprint"] == before["data_fingerprint"]
    with pytest.raises(InvalidSpec, match=r"code: it holds no module 'coded_recip'.*did you mean 'coded_recipe'"):
        resolve(PIPELINE, {**given, "recipe": "coded_recip:recipe"})
    with pytest.raises(InvalidSpec, match=r"code: it holds no module 'trial', which is named"):
        resolve(PIPELINE, {**given, "overrides": {"sweep": {"function": "trial:run"}}})
    with pytest.raises(InvalidSpec, match=r"No module named 'coded_recipe'"):  # of a run without, in the same process
        resolve(PIPELINE, params(csv, recipe="coded_recipe:recipe"))
    with pytest.raises(InvalidSpec, match=r"overrides.training.code: it is always the parameter code .*, got"):
        resolve(PIPELINE, {**given, "overrides": {"training": {"code": "file:///x.whl"}}})


def test_a_run_is_prepared_with_pinned_code_and_its_plan_step_puts_it_into_the_store(
    csv: Path, tmp_path: Path, local_store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/coded_recipe.py").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    prepared = prepare("train_and_deploy", params(csv, recipe="coded_recipe:recipe", code="code"))
    pinned = prepared.params["code"]
    assert pinned == pin(str(tmp_path / "code"))
    assert prepared.key() == prepare("train_and_deploy", prepared.params).key()
    key = pinned.removeprefix(f"{local_store_uri}/").partition("#")[0]
    assert Store.open().head(key) is None, "a dry run writes nothing"
    plan_step("train_and_deploy", prepared.params)
    assert Store.open().head(key) is not None


def test_an_endpoints_setting_changes_the_endpoints_spec_alone(csv: Path) -> None:
    before = outputs(csv)
    after = outputs(csv, overrides={"endpoint": {"replicas": 2}})
    assert {**after, "endpoint": before["endpoint"]} == before


def test_a_recipe_of_ones_own_leaves_the_presets_search_space_behind(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_recipe.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(tmp_path)
    found = specs(csv, recipe="other_recipe:recipe")
    assert found["training"].model_dump()["params"] == {"width": 8}
    assert found["sweep"].model_dump()["parameters"] == []
    sys.modules.pop("other_recipe")


def test_the_later_steps_may_load_the_recipe_that_the_run_names_and_no_other(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_recipe.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(tmp_path)
    mine, old = "named_recipe:recipe", "of_the_champion:recipe"
    given = {"promotion": {"recipes": [old]}, "training": {"recipe": mine}, "dataset": {"recipe": mine}}
    found = specs(csv, overrides=given)
    allowed = [found[section].model_dump()["recipes"] for section in ("evaluation", "promotion", "endpoint")]
    assert allowed == [[mine], [old, mine], [mine]]
    shipped = specs(csv)
    assert not any(shipped[section].model_dump()["recipes"] for section in ("evaluation", "promotion", "endpoint"))
    sys.modules.pop("named_recipe")


def test_a_search_space_of_ones_own_replaces_the_presets(csv: Path) -> None:
    found = specs(csv, overrides={"sweep": {"parameters": {"dropout": [0.1, 0.2]}}})["sweep"]
    assert [each.name for each in found.parameters] == ["dropout"]
    assert found.maxTrialCount == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": ""}, "name: missing"),
        ({"data": ""}, "data: missing"),
        ({"preset": "fast"}, "preset: unknown preset 'fast'; expected one of default, demo"),
        ({"overrides": {"trainning": {}}}, r"overrides.trainning: unknown section.*did you mean 'training'"),
        ({"overrides": [1]}, "overrides: expected a mapping of sections"),
        ({"overrides": {"training": 3}}, "overrides.training: expected a mapping"),
        ({"recipe": "intent"}, r"recipe: unknown recipe 'intent'.*did you mean 'intents'"),
        ({"recipe": "no.such:thing"}, r"recipe: 'no.such:thing' cannot be loaded"),
        ({"strategy": "multi-worker"}, "training.strategy"),
        ({"overrides": {"training": {"params": {"lerning_rate": 1}}}}, r"training.params.lerning_rate: unknown field"),
        ({"overrides": {"sweep": {"parameters": {"learning_rat": [1, 2]}}}}, r"did you mean 'learning_rate'"),
        ({"overrides": {"dataset": {"encoder": {"bucket": 4}}}}, r"dataset.encoder.bucket.*did you mean 'buckets'"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(csv: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        resolve(PIPELINE, {**params(csv), **given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dataset": {"eval_fraction": 0}}, r"dataset.eval_fraction: 0 leaves no rows in eval, which training picks"),
        (
            {"dataset": {"test_fraction": 0}},
            r"dataset.test_fraction: 0 leaves no rows in test, which evaluation scores",
        ),
    ],
)
def test_a_side_that_a_later_step_needs_cannot_be_switched_off(csv: Path, overrides: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        resolve(PIPELINE, params(csv, overrides=overrides))
    assert resolve(PIPELINE, params(csv, split_column="side", overrides=overrides))


def test_a_slice_over_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("say,label,device,_row\nhello,greet,phone,1\nbye,part,car,2\n")
    for name in ("device", "source__row", "label", "group"):
        outputs(path, input_column="say", overrides={"evaluation": {"slices": [name]}})
    for name, hint in (("devise", r".*did you mean 'device'"), ("say", ""), ("_row", "")):
        with pytest.raises(InvalidSpec, match=rf"evaluation.slices: the rows will have no column '{name}'{hint}"):
            outputs(path, input_column="say", overrides={"evaluation": {"slices": [name]}})


def test_prep_is_told_which_columns_the_evaluation_slices_by(csv: Path) -> None:
    assert specs(csv, overrides={"evaluation": {"slices": ["city"]}})["dataset"].slices == ["city"]


def test_a_plan_says_which_sentence_encoder_and_a_run_with_another_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nhello,greet\nbye,leave\n")
    given = {"name": "bot", "data": str(tmp_path / "rows.csv")}
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    installed = resolve(PIPELINE, given)
    assert not (tmp_path / "home").exists(), "a plan looks, and makes nothing"
    assert installed.specs["dataset"].encoder["sentence_encoder"] == "auto"
    assert installed.settled[0].startswith("sentence encoder: use-multilingual-3,")
    monkeypatch.setattr("shipway.language.opening.find_spec", lambda name: None if name == "sentencepiece" else name)
    absent = resolve(PIPELINE, given)
    assert absent.specs["dataset"].encoder["sentence_encoder"] == "none"
    assert absent.notes[0].startswith("no sentence encoder: sentencepiece is not installed here")
    assert absent.sections["dataset"] != installed.sections["dataset"]
    monkeypatch.setattr("shipway.recipes.absent.has_polars", lambda: False)  # the launcher's image, which preps nothing
    assert resolve(PIPELINE, given).specs["dataset"].encoder["sentence_encoder"] == "auto"
    switched_off = resolve(PIPELINE, {**given, "overrides": "dataset: {encoder: {sentence_encoder: none}}"})
    assert switched_off.specs["dataset"].encoder["sentence_encoder"] == "none"
    assert not any("sentence encoder" in note for note in switched_off.settled)


@pytest.mark.parametrize(
    ("given", "strategy", "workers", "says"),
    [
        ({}, "single", 1, "strategy auto: single, 1 worker: where it was measured, a second worker made"),
        ({"workers": 3}, "horovod", 3, "strategy auto: horovod, 3 workers: the fastest for 3 workers that"),
        ({"strategy": "multi_worker"}, "multi_worker", 2, ""),
        ({"overrides": "training: {resources: {gpu: 4}}"}, "mirrored", 1, "one replica uses its 4 GPUs"),
        ({"overrides": "training: {mixed_precision: true, workers: 2}"}, "multi_worker", 2, "multi_worker, 2 workers"),
        ({"overrides": "training: {gradient_compression: fp16, workers: 2}"}, "horovod", 2, "horovod, 2 workers"),
    ],
)
def test_a_strategy_that_nobody_named_is_chosen_and_said(
    csv: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], strategy: str, workers: int, says: str
) -> None:
    monkeypatch.setattr("shipway.training.choosing.find_spec", lambda name: name)
    found = resolve(PIPELINE, params(csv, **given))
    training = found.specs["training"]
    assert (training.strategy, training.workers) == (strategy, workers)
    assert found.specs["sweep"].training == training
    told = [note for note in found.settled if note.startswith("strategy")]
    assert len(told) == bool(says)
    assert all(says in note for note in told)
    monkeypatch.setattr("shipway.training.choosing.find_spec", lambda name: None)
    without = resolve(PIPELINE, params(csv, **given)).specs["training"].strategy
    assert without == ("multi_worker" if given == {"workers": 3} else strategy), "Horovod is built, or left out here"
