"""A sweep over real trainings of the intents recipe: one process imports TensorFlow for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipway.components.sweep import launch
from shipway.components.sweep.spec import SweepSpec, loguniform
from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.storage import open_folder

WORDS = {"light": ("lamp", "light", "bulb"), "music": ("song", "music", "tune"), "time": ("clock", "time", "hour")}


@pytest.mark.heavy
def test_trials_train_the_recipe_on_the_eval_split_and_never_on_test(tmp_path: Path, local_store_uri: str) -> None:
    from shipway.components.prep.make import make_dataset
    from shipway.components.prep.spec import DatasetSpec
    from shipway.storage import Store

    lines = ["text,label,split"]
    for label, words in WORDS.items():
        for number in range(36):
            split = ("train", "train", "eval", "test")[number % 4]
            lines.append(
                f"please {'turn' if number % 3 else 'switch'} the {words[number % 3]} {number},{label},{split}"
            )
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    spec = {"name": "bot", "data": str(tmp_path / "rows.csv"), "split_column": "split"}
    dataset, _ = make_dataset(parse(DatasetSpec, spec, "dataset"), Store.open())
    document: dict[str, Any] = {
        "parameters": {"learning_rate": loguniform(0.0005, 0.02), "dropout": [0.1, 0.5]},
        "maxTrialCount": 3,
        "parallelTrialCount": 1,
        "training": {"name": "bot", "epochs": 2, "params": {"dim": 8, "hidden": 0}},
    }
    with pytest.raises(InvalidSpec, match=r"has no parameter 'droput'.*did you mean 'dropout'"):
        launch.play(parse(SweepSpec, {**document, "parameters": {"droput": [0.1]}}), dataset.uri, dataset.fingerprint)
    record, _ = launch.play(parse(SweepSpec, document), dataset.uri, dataset.fingerprint)
    assert [trial.state for trial in record.trials] == ["Succeeded"] * 3, [trial.error for trial in record.trials]
    assert len({trial.job for trial in record.trials}) == 1
    assert record.trials[0].params == {"learning_rate": 0.002, "dropout": 0.5}
    assert set(record.best_params) == {"learning_rate", "dropout"}
    assert record.best_value == max(trial.metrics["val_accuracy"] for trial in record.trials)
    assert not any("test" in name for trial in record.trials for name in trial.metrics)
    assert record.dataset_fingerprint == dataset.fingerprint
    asha = {"algorithmName": "asha", "algorithmSettings": {"eta": 2}}
    climbing = {**document, "objective": "minimize loss", "algorithm": asha, "maxTrialCount": 4}
    record, uri = launch.play(parse(SweepSpec, climbing), dataset.uri, dataset.fingerprint)
    defaults, *others = [(len(trial.history), trial.state, trial.attempts) for trial in record.trials]
    assert defaults == (2, "Succeeded", 1)
    assert set(others) == {(1, "EarlyStopped", 1), (2, "Succeeded", 2)}
    for trial in record.trials:
        assert len({step for step, _ in trial.history}) == len(trial.history)
    assert not [info.key for info in open_folder(uri).list("trials/") if "checkpoints" in info.key]
