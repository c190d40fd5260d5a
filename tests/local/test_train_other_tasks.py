"""Tasks that the package knows nothing of are trained, searched, resumed and exported like its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest
from shipway.components.sweep import launch
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import InvalidSpec, LeaseLapsed
from shipway.recipes import Ragged
from shipway.scoring import ModelSession
from shipway.specs import parse
from shipway.storage import open_folder
from tests.fixtures import other_tasks
from tests.fixtures.other_tasks import NUMBER, TAGS

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

ROWS = {"train": 400, "eval": 1200}  # eval: two of the parser's batches, of different widths
SPEC: dict[str, Any] = {"name": "number", "recipe": NUMBER, "steps": 60, "checkpoint_steps": 10, "batch_size": 32}


@pytest.fixture
def numbers(local_store_uri: str, tmp_path: Path) -> DatasetManifest:
    return other_tasks.write_dataset(other_tasks.number, f"{local_store_uri}/numbers", tmp_path, ROWS)


def test_the_lowest_error_chooses_the_weights(numbers: DatasetManifest, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    told: list[dict[str, float]] = []

    def report(_step: int, metrics: dict[str, float]) -> bool:
        told.append(metrics)
        return True

    fitted = fit(FitSpec(**SPEC), numbers, tmp_path, report=report)
    assert list(told[0]) == ["loss", "rmse", "val_rmse", "val_mae", "val_loss"]
    assert fitted.state.best_metrics["val_rmse"] == min(each["val_rmse"] for each in told) < told[0]["val_rmse"] / 2
    assert fitted.state.best_metrics["val_loss"] == pytest.approx(fitted.state.best_metrics["val_rmse"] ** 2)


@pytest.mark.parametrize("metric", ["auto", "val_mae", "val_loss"])
def test_a_training_stops_early_by_a_metric_of_its_task(numbers: DatasetManifest, tmp_path: Path, metric: str) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import EarlyStopping, FitSpec

    rule = EarlyStopping(metric=metric, patience=1, min_delta=50)
    assert fit(FitSpec(**SPEC, early_stopping=rule), numbers, tmp_path).state.step == 20


def test_a_metric_that_the_task_does_not_have_is_refused_before_anything_is_read(numbers: DatasetManifest) -> None:
    training = {**SPEC, "early_stopping": {"metric": "val_accuracy"}}
    message = r"training\.early_stopping\.metric: .*'val_accuracy'; expected one of auto, val_rmse, val_mae, val_loss"
    with pytest.raises(InvalidSpec, match=message):
        search(numbers, {"training": training})
    message = r"sweep\.objective\.objectiveMetricName: .*'val_accuracy'; expected one of val_rmse, val_mae, val_loss"
    with pytest.raises(InvalidSpec, match=message):
        search(numbers, {"objective": "val_accuracy"})


def search(dataset: DatasetManifest, document: dict[str, Any]) -> Any:
    usual = {"parameters": {"learning_rate": [0.0001, 0.05]}, "parallelTrialCount": 1, "training": SPEC}
    return launch.play(parse(SweepSpec, {**usual, **document}), dataset.uri, dataset.fingerprint)[0]


def test_a_sweep_looks_for_the_lowest_error_unless_it_is_told_another_goal(numbers: DatasetManifest) -> None:
    record = search(numbers, {})
    assert [trial.state for trial in record.trials] == ["Succeeded"] * 2, [trial.error for trial in record.trials]
    assert (record.objective, record.direction) == ("val_rmse", "minimize")
    assert record.best_params == {"learning_rate": 0.05}
    assert record.best_value == min(trial.metrics["val_rmse"] for trial in record.trials)


def test_a_trial_says_how_sure_its_error_is(numbers: DatasetManifest, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec
    from shipway.training.trial import run_trial

    trial = run_trial({"spec": SPEC, "dataset_uri": numbers.uri}, lambda _step, _metrics: True)
    state = fit(FitSpec(**SPEC), numbers, tmp_path).state
    assert trial["val_rmse"] == state.best_metrics["val_rmse"]
    # Of noise that is normally distributed: rmse / sqrt(2 n).
    assert trial["val_rmse_stderr"] == pytest.approx(trial["val_rmse"] / (2 * ROWS["eval"]) ** 0.5, rel=0.2)
    assert trial["steps"] == 60


def test_a_training_goes_on_from_its_checkpoint(numbers: DatasetManifest, local_store_uri: str, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.progress import LEASE_KEY, LeaseWatch, Monitor
    from shipway.training.spec import FitSpec

    output = f"{local_store_uri}/jobs/leased"
    open_folder(output).put(LEASE_KEY, b'{"number": 1}')
    watch = LeaseWatch(output, 0.2)
    assert watch.lapsed.wait(30)
    with pytest.raises(LeaseLapsed):
        fit(FitSpec(**SPEC), numbers, tmp_path, output_uri=output, monitor=Monitor(lease=watch))
    resumed = fit(FitSpec(**SPEC), numbers, tmp_path, output_uri=output)
    calm = fit(FitSpec(**SPEC), numbers, tmp_path)
    assert resumed.state == calm.state
    assert all(np.array_equal(one, other) for one, other in zip(resumed.weights, calm.weights, strict=True))


def test_numbers_are_served_by_onnx_with_what_was_calibrated(
    numbers: DatasetManifest, local_store_uri: str, tmp_path: Path
) -> None:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    fitted = fit(FitSpec(**SPEC), numbers, tmp_path)
    model = publish(fitted, tmp_path, f"{local_store_uri}/jobs/number", "number", "")
    assert model.served.parity is not None
    assert model.served.parity.passed, model.served.parity
    assert model.served.parity.agreement == 1.0
    assert model.task == "number"
    assert {name: (spec.dtype, spec.shape) for name, spec in model.outputs.items()} == {
        "value": ("float32", []),
        "is_large": ("int64", []),
    }
    assert set(model.constants) == {"shift"}
    assert model.constants["shift"] != 0.0
    values = ["x xx xxx", "", "x " * 12]
    predicted = ModelSession.open(model, recipes=[NUMBER]).predict(values)
    expected = [float(other_tasks.truth(other_tasks.number, text)) for text in values]
    np.testing.assert_allclose(predicted["value"], expected, atol=0.3)


def test_several_targets_of_any_length_are_learned_and_served(local_store_uri: str, tmp_path: Path) -> None:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    dataset = other_tasks.write_dataset(other_tasks.tags, f"{local_store_uri}/tags", tmp_path, ROWS)
    fitted = fit(FitSpec(name="tags", recipe=TAGS, steps=80, batch_size=32), dataset, tmp_path)
    assert list(fitted.state.metrics) == ["loss", "val_tag_rate", "val_loss"]
    assert fitted.state.best_metrics["val_tag_rate"] == 1.0
    model = publish(fitted, tmp_path, f"{local_store_uri}/jobs/tags", "tags", "")
    assert model.serving == "onnx", model.served.parity
    assert model.outputs["shares"].shape == [None, other_tasks.KINDS]
    words = sum(len(text.split()) for text in other_tasks.texts(ROWS["eval"], seed=1))
    assert model.constants == {"words": words}
    values = ["x xx xxx xxxx", "", "xxxxx"]
    found = ModelSession.open(model, recipes=[TAGS]).predict(values)["tags"]
    assert isinstance(found, Ragged)
    assert [" ".join(map(str, found.row(i))) for i in range(3)] == [
        other_tasks.truth(other_tasks.tags, text) for text in values
    ]
