"""Functions of a person's own, swept and trained on this machine: real runs, real replicas, their source alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import shipway
from shipway.artifacts import TrainingRecord
from shipway.code import pin, upload_packed
from shipway.components.sweep.launch import play
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train import launch
from shipway.context import Context
from shipway.errors import InvalidSpec, UserError
from shipway.functions.outcomes import Sweep
from shipway.functions.source import extract
from shipway.functions.travelling import write
from shipway.specs import parse
from shipway.storage import open_folder
from tests.fixtures import own_functions as own
from tests.fixtures import typed

SPACE = {"learning_rate": [0.001, 0.005, 0.01], "dropout": [0.5, 0.6]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home and a store of their own, which need no server."""
    folder = tmp_path_factory.mktemp("functions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(folder / "home"))
        patch.setenv("SHIPWAY_STORE", f"file://{folder}/store")
        yield folder


@pytest.fixture(scope="module")
def swept(place: Path) -> Sweep:
    return shipway.sweep(own.bowl, SPACE)


def test_six_trials_of_a_function_find_its_best_parameters(swept: Sweep) -> None:
    assert swept.best == {"learning_rate": 0.005, "dropout": 0.6}
    assert swept.best_value == 1.0
    frame = swept.trials
    assert frame.columns == ["trial", "state", "learning_rate", "dropout", "accuracy", "seconds", "error"]
    assert sorted(frame.select("learning_rate", "dropout").rows()) == sorted(
        (rate, dropout) for rate in SPACE["learning_rate"] for dropout in SPACE["dropout"]
    )
    assert set(frame["state"]) == {"Succeeded"}
    assert frame.row(0, named=True)["dropout"] == 0.5  # the first trial has the function's own default
    assert "best accuracy=1 with" in repr(swept)
    assert swept._repr_html_().count("<tr") == 7
    assert "Optimisation history" in swept.run.report()


def test_what_travelled_and_where_it_comes_from_is_kept_with_the_run(swept: Sweep) -> None:
    assert swept.run.record is not None
    params = swept.run.record.params
    origin = params["origin"]
    assert isinstance(origin, dict)
    assert origin["packages"] == {"shipway": shipway.__version__}
    assert origin["from"] == extract(own.bowl).where
    assert origin["python"].startswith("3.11")
    code = open_folder(Context.current().store_uri)
    (stored,) = (info for info in code.list("code/"))
    assert stored.key.split("/")[1] == str(params["code"]).partition("#sha256=")[2]
    assert b"def distance" in code.get(stored.key)


def test_the_same_sweep_called_again_runs_no_trial_again(swept: Sweep) -> None:
    store = open_folder(Context.current().store_uri)
    before = {info.key: info.modified for info in store.list("sweeps/") if "/trials/" in info.key}
    again = shipway.sweep(own.bowl, SPACE)
    assert again.run.key == swept.run.key
    assert {info.key: info.modified for info in store.list("sweeps/") if "/trials/" in info.key} == before


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (
        own.bowl,
        {"learning_rat": [1]},
        r"space: bowl \(.*own_functions.py:\d+\) takes no 'learning_rat'; .*did you mean",
    ),
    (own.bowl, {"dropout": [0.5]}, "needs 'learning_rate', which has no default"),
    (own.bowl, {"learning_rate": ["a"]}, r"space\['learning_rate'\]: 'a' is no float, which bowl"),
    (own.bowl, {"learning_rate": 0.5}, r"space\['learning_rate'\]: expected a list of values, or text .*got 0.5"),
    (
        own.bowl,
        {"learning_rate": "unifrm(0, 1)"},
        r"learning_rate: 'unifrm\(0, 1\)' is no search space.*did you mean 'uniform",
    ),
    (own.bowl, {}, "space: expected the values of each parameter: .*, got {}"),
    (own.two_metrics, {"learning_rate": [0.1]}, r"gives loss, f1; say which counts: objective='minimize loss'"),
    (lambda x: x, {"x": [1]}, "a lambda cannot travel"),
]


@pytest.mark.parametrize(("function", "space", "message"), BAD, ids=[message[:30] for _, _, message in BAD])
def test_a_sweep_that_cannot_be_is_refused_before_anything_starts(
    function: Any, space: dict[str, Any], message: str, home: Path, local_store_uri: str
) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        shipway.sweep(function, space)
    assert "\n" not in str(caught.value)
    assert not (home / "runs").exists()
    assert not (home / "jobs").exists()


TRAIN = "import scoring\n\n\ndef train(rate, dropout=0.5):\n    return scoring.score(rate, dropout)\n"
SCORING = "def score(rate, dropout):\n    return 1 - (rate - 0.2) ** 2 - (dropout - 0.6) ** 2\n"


def test_the_same_from_a_file_with_its_neighbours(place: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "scoring.py").write_text(SCORING)
    document = {"name": "parabola", "function": "train.py:train", "space": {"rate": [0.1, 0.2], "dropout": [0.5, 0.6]}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(document))
    environment = dict(os.environ)
    done = typed.run("run sweep_function --local --params-file sweep.yaml --json", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["best_parameters"] == {"dropout": 0.6, "rate": 0.2}
    assert summary["sweep"]["trials"] == 4
    refused = typed.run(
        "run sweep_function --local --params-file sweep.yaml --param function=train.py:trian", cwd=tmp_path,
        env=environment,
    )  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "error: function: train.py has no function 'trian'; it has train (did you mean 'train'?)"
    ]
    more = "name=p function=train.py:train params.rate=1 workers=2"
    refused = typed.run(f"run train_function --local --param {more}", cwd=tmp_path, env=environment)
    assert "error: training: workers 2 with strategy 'single': it runs in one replica" in refused.stderr


def trained(place: Path, function: Any, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> TrainingRecord:
    """What the step of a training does, here."""
    given = coded(function)
    monkeypatch.setenv("SHIPWAY_RUN", f"test-{function.__name__}")
    document = {"function": given["function"], **given["training"], "lease_s": 60, **spec}
    folder = place / function.__name__
    outputs = [
        SimpleNamespace(path=str(folder / name), log_metric=lambda *_: None) for name in ("t", "m", "page", "ui")
    ]
    launch.function(json.dumps(document), *outputs)
    assert json.loads((folder / "ui").read_text())["outputs"][0]["type"] == "tensorboard"
    return TrainingRecord.read(folder / "t")


def test_a_killed_training_goes_on_with_the_folder_that_it_had_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = place / "rows.csv"
    rows.write_text("a\nb\n")
    record = trained(place, own.survives, monkeypatch, params={"epochs": 4}, strategy="multi_worker", workers=2,
                     data={"rows": str(rows)})  # fmt: skip
    assert record.metrics == {"began": 2, "workers": 2, "restart": 1, "rows": 2, "loss": 0.25}
    assert record.restarts >= 1
    assert record.history == {"loss": [[3, pytest.approx(1 / 3)], [4, 0.25]]}
    page = (place / "survives" / "page").read_text()
    assert "multi_worker, 2 workers" in page
    assert "shipway tensorboard " in page
    assert "What each replica used" in page
    store = open_folder(record.uri)
    assert json.loads(store.get("folder.json"))["state.json"]["size_bytes"] == len('{"epoch": 4}')
    assert store.get("tensorboard/events.out") == b"epoch 4"


def test_under_horovod_mpirun_starts_the_ranks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = trained(place, own.ranks, monkeypatch, strategy="horovod", workers=2)
    assert record.metrics == {"rank": 0, "size": 2, "workers": 2}


def test_a_function_that_raises_fails_at_once_with_its_own_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        trained(place, own.raises, monkeypatch, params={"x": 3})
    assert ended.value.code == UserError.exit_code
    line = "error: raises raised IndexError: list index out of range (own_raises.py:5: return [1.0][int(x)])"
    assert line in capfd.readouterr().err
    jobs = [path.name for path in (place / "home" / "jobs").iterdir()]
    assert not [name for name in jobs if name.endswith("-r1")]


def test_a_sweep_whose_function_gives_nothing_ends_with_its_first_trial(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWAY_RUN", "test-silent")
    document = {"objective": "maximize score", "parameters": {"x": [1, 2, 3]}, "parallelTrialCount": 1,
                **coded(own.silent)}  # fmt: skip
    with pytest.raises(InvalidSpec, match="silent: returned nothing and reported nothing; return a number or a dict"):
        play(parse(SweepSpec, document, "sweep"), "", "")


def coded(function: Any) -> dict[str, Any]:
    """A function and its code as a spec has them, the code in the store."""
    source = extract(function)
    code = pin(str(write(source)))
    upload_packed(code)
    return {"function": source.reference, "training": {"name": "t", "code": code}}
