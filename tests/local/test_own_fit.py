"""A recipe's own fit: what it is given, what is measured, kept and published, and what it is refused for."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.artifacts import DatasetManifest
from shipway.components.sweep.experiment import make_call
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import InvalidSpec, LeaseLapsed, ShipwayError, UserError
from shipway.scoring import ModelSession
from shipway.scoring.folder import stored_manifest
from shipway.specs import parse
from shipway.storage import Store
from shipway.training.own_export import publish
from shipway.training.own_fit import fit_itself
from shipway.training.progress import Monitor
from shipway.training.spec import FitSpec
from shipway.training.trial import run_trial
from tests.fixtures import fitted, houses
from tests.fixtures.jobs import play

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("scikit-learn")]  # whose import takes seconds

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("tensorflow", "tf_keras", "keras", "tf2onnx", "horovod")


@dataclass
class Data:
    root: Path
    lines: DatasetManifest
    rents: DatasetManifest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("fitted")
    store = Store.open((root / "store").as_uri())
    return Data(root, fitted.lines(root, store), fitted.rents(root, store))


def spec(dataset: DatasetManifest, **fields: Any) -> FitSpec:
    return FitSpec.model_validate(json.loads(fitted.document(dataset, **fields))["spec"])


def worker(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A training replica."""
    return process("shipway.components.train.worker", "main()", SHIPWAY_TRAINING=text, **environment)


def process(module: str, call: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One of ours that says which frameworks it imported."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('imported', *(n for n in {FRAMEWORKS} if n in sys.modules)))\n"
        f"from {module} import main\n"
        f"sys.exit({call})\n"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHIPWAY_")}
    given = {**kept, "PYTHONPATH": str(ROOT), "SHIPWAY_JOB": "train-lines", **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=given, timeout=300)


def test_a_killed_fit_goes_on_from_what_it_saved_and_no_framework_is_imported(data: Data) -> None:
    output = (data.root / "jobs" / "lines").as_uri()
    text = fitted.document(data.lines, output)
    killed = worker(text, **{fitted.KILL: "3"})
    assert killed.returncode == -signal.SIGKILL
    assert not (data.root / "jobs" / "lines" / "model").exists()
    done = worker(text, **{fitted.KILL: "3"})
    assert done.returncode == 0, done.stderr
    assert "goes on behind pass 3" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported"
    model = stored_manifest(f"{output}/model")
    assert sorted(file.path for file in model.files) == ["encoder.json", "model.onnx"]
    assert (model.serving, model.steps, model.job) == ("onnx", 6, "train-lines")
    assert model.served.parity is not None
    assert model.served.parity.passed
    assert model.served.parity.agreement == 1.0
    assert {"scikit-learn", "onnx", "python"} <= set(model.versions)
    elsewhere = (data.root / "jobs" / "equal").as_uri()
    assert worker(fitted.document(data.lines, elsewhere), SHIPWAY_JOB="another").returncode == 0
    equal = stored_manifest(f"{elsewhere}/model")
    assert (equal.digest, equal.weights) == (model.digest, model.weights)
    assert equal.job != model.job
    undisturbed, weights = fit_itself(spec(data.lines), data.lines, data.root / "undisturbed")
    assert undisturbed.state.best_metrics["val_accuracy"] == model.metrics["val_accuracy"]
    session = ModelSession.open(model, recipes=[fitted.REFERENCE])
    texts = ["play jazz", "turn on the light in the hall"]
    served = session.predict(texts)["probabilities"]
    words = fitted.recipe.load_encoder({"labels": model.labels}).encode(texts)["words"]
    np.testing.assert_allclose(served, fitted._probabilities(weights, words), atol=1e-6)  # type: ignore[arg-type]


def test_progress_is_told_and_the_weights_of_the_best_pass_are_measured(data: Data, tmp_path: Path) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    monitor = Monitor(metric_lines=lambda step, metrics: told.append((step, metrics)))
    trained, _ = fit_itself(spec(data.lines), data.lines, tmp_path, monitor=monitor)
    assert [step for step, _ in told] == [1, 2, 3, 4, 5, 6]
    assert set(told[0][1]) == {"loss", "val_accuracy", "val_loss"}
    best = max((metrics["val_accuracy"], -metrics["val_loss"]) for _, metrics in told)
    assert (trained.state.metrics["val_accuracy"], -trained.state.metrics["val_loss"]) == pytest.approx(best)
    assert trained.state.metrics["val_accuracy"] > 0.5


def test_a_fit_is_ended_by_its_patience_and_by_a_sweep(data: Data, tmp_path: Path) -> None:
    stopping = {"early_stopping": {"patience": 2}, "params": {"rate": 0.0, "passes": 50}}
    trained, _ = fit_itself(spec(data.lines, **stopping), data.lines, tmp_path)
    assert trained.state.step == 3
    document = json.loads(fitted.document(data.lines, params={"passes": 9}))
    found = run_trial(document, lambda step, _metrics: step < 4)
    assert found["steps"] == 4
    assert {"val_accuracy", "val_loss", "val_accuracy_stderr"} <= set(found)
    assert run_trial(document, lambda *_: True)["steps"] == 9  # nothing is left of the trial before


def test_a_trial_of_its_own_imports_no_framework_and_prints_what_katib_reads(data: Data) -> None:
    sweep = {"parameters": {"rate": [0.1, 0.2]}, "training": spec(data.lines, params={"passes": 2}).model_dump()}
    call = replace(make_call(parse(SweepSpec, sweep, "sweep"), data.lines.uri), params={"rate": "0.2"})
    done = process("shipway.components.sweep.worker", "main(['trial'])", SHIPWAY_TRIAL=call.to_json())
    assert done.returncode == 0, done.stderr
    *lines, imported = done.stdout.splitlines()
    assert imported == "imported"
    assert sum(" val_accuracy=" in line for line in lines) == 3  # two passes, and the model that it ended with


def test_trees_over_a_table_are_published_as_the_onnx_that_gives_their_numbers(data: Data, tmp_path: Path) -> None:
    told: list[int] = []
    monitor = Monitor(metric_lines=lambda step, _metrics: told.append(step))
    trained, trees = fit_itself(spec(data.rents), data.rents, tmp_path, monitor=monitor)
    assert told == [0]  # a fit that reports nothing is measured once, at its end
    model = publish(trained, trees, tmp_path, (tmp_path / "jobs").as_uri(), "rents", "")
    assert {name: (each.dtype, each.shape) for name, each in model.outputs.items()} == {"value": ("float32", [1])}
    assert model.metrics["val_rmse"] < 80
    assert model.how_trained == "single, 1 worker"
    assert model.served.parity is not None
    session = ModelSession.open(model, recipes=[fitted.TREES])
    asked = [{"size": 100, "age": 20, "town": "Köln"}, {"size": 30, "age": 0, "town": "Aachen"}]
    columns = session.encoder.encode(asked)["columns"]
    np.testing.assert_allclose(session.predict(asked)["value"], trees.predict(columns), rtol=1e-5)  # type: ignore[arg-type]
    solved = houses.solve(houses.rows(300)) @ [100, 20, 0, 1, 0]
    assert abs(float(session.predict(asked[:1])["value"][0]) - solved) < 150  # type: ignore[index]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("pickle", r"export: .*model.onnx: not an ONNX model .*the model was not opened"),
        ("numbers", r"its ONNX gives numbers up to 0\.\d+ away from its own predictions, allowed are 1e-05"),
        ("output", "export: the ONNX gives scores; the task classification needs 'probabilities'"),
        (
            "input",
            r"export: the ONNX takes 'text', tensor\(float\); expected features of the encoder: words \(float32\)",
        ),
    ],
)
def test_an_export_that_cannot_be_served_as_it_was_fitted_is_refused_in_one_line(
    data: Data, tmp_path: Path, wrong: str, message: str
) -> None:
    trained, model = fit_itself(spec(data.lines, params={"wrong": wrong, "passes": 1}), data.lines, tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        publish(trained, model, tmp_path, (tmp_path / "jobs").as_uri(), "lines", "")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "jobs" / "model").exists()


def test_a_package_that_is_missing_is_named_in_one_line(data: Data) -> None:
    done = worker(fitted.document(data.lines, params={"wrong": "package", "passes": 1}))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: recipe {fitted.REFERENCE}: it needs a_package_that_is_not_there, which is not installed here; "
        "install it where the run is, and for a cluster name an image that holds it: training.image, or the recipe's "
        "own `image`"
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": [1]}, "predict: 'probabilities' is missing among label; expected shape"),
        ({"probabilities": [[0.5, 0.5]]}, r"predict: 'probabilities' is of shape \(1, 2\); expected shape \(\d+, 5\)"),
        ([1], "predict: expected a mapping of names to arrays, got 'list'"),
    ],
)
def test_predictions_that_the_task_cannot_read_are_refused_in_one_line(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, message: str
) -> None:
    monkeypatch.setattr(fitted.recipe, "predict", lambda model, features: given, raising=False)
    with pytest.raises(InvalidSpec, match=message):
        fit_itself(spec(data.lines), data.lines, tmp_path)


def test_what_a_library_draws_without_a_seed_does_not_depend_on_the_trial_before(data: Data, tmp_path: Path) -> None:
    drawn = []

    def fit(params: Any, encoder: Any, fitting: Any) -> Any:
        drawn.append((random.random(), float(np.random.random())))
        return np.zeros((65, 5), np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted.recipe, "fit", fit, raising=False)
        for seed in (17, 17, 18):
            fit_itself(spec(data.lines, seed=seed), data.lines, tmp_path)
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_fit_that_diverged_or_whose_steps_do_not_grow_is_told_so(data: Data, tmp_path: Path) -> None:
    def fit(params: Any, encoder: Any, fitting: Any) -> Any:
        weights = np.zeros((65, 5), np.float32)
        assert fitting.report(2, weights)
        return fitting.report(*again, weights) if len(again) == 1 else fitting.report(3, weights, loss=float("nan"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted.recipe, "fit", fit, raising=False)
        again: tuple[int, ...] = (2,)
        with pytest.raises(InvalidSpec, match="reported step 2 after step 2; steps grow"):
            fit_itself(spec(data.lines), data.lines, tmp_path)
        again = ()
        with pytest.raises(ShipwayError, match="loss is nan at step 3"):
            fit_itself(spec(data.lines), data.lines, tmp_path)


@pytest.mark.proves(recipe="a fit of your own", strategy="multi_worker", executor="process")
def test_two_workers_fit_on_their_own_shards_and_the_first_publishes(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HOME": str(tmp_path / "home"), "STORE": (tmp_path / "store").as_uri()}.items():
        monkeypatch.setenv(f"SHIPWAY_{name}", value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked = json.loads(fitted.document(data.lines, strategy="multi_worker", workers=2))["spec"]
    done = play("lines-shared", data.lines, asked)
    assert (done.outcome.state, done.model.workers, done.restarts) == ("Succeeded", 2, 0)
    assert done.model.how_trained == "multi_worker, 2 workers, 6 steps, 10 epochs"
    alone, _ = fit_itself(spec(data.lines), data.lines, tmp_path / "alone")
    assert done.model.metrics["val_loss"] != alone.state.metrics["val_loss"], "the first worker had half of the rows"
    logs = {path.parent.name: path.read_text() for path in (tmp_path / "home").glob("jobs/*/replicas/*/0.log")}
    assert {name: "val_accuracy=" in text for name, text in logs.items()} == {"chief-0": True, "worker-0": False}


class Lapsed:
    """A lease that nobody renews."""

    def __init__(self) -> None:
        import threading

        self.lapsed = threading.Event()
        self.lapsed.set()


def test_a_fit_whose_lease_lapsed_ends_at_its_next_report(data: Data, tmp_path: Path) -> None:
    with pytest.raises(LeaseLapsed, match="goes on from what the recipe saved"):
        fit_itself(spec(data.lines), data.lines, tmp_path, monitor=Monitor(lease=Lapsed()))  # type: ignore[arg-type]


def test_a_fit_that_reports_nothing_is_ended_with_its_lease(data: Data) -> None:
    code = (
        "import sys, threading, time\n"
        "from shipway.training import own_fit\n"
        "from shipway.training.progress import Monitor\n"
        "from tests.local.test_own_fit import Lapsed\n"
        "own_fit.LEASE_GRACE_S = 0.1\n"
        "with own_fit.ended_with_its_lease(Monitor(lease=Lapsed())):\n"
        "    time.sleep(600)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == LeaseLapsed.exit_code
    assert "lapsed during its fit" in done.stderr
