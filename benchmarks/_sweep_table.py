"""Makes `sweep_table.json`: a real training for every point of a grid, so that searches can be replayed in no time.

    python -m benchmarks._sweep_table [folder]       about 6 minutes on one core; goes on where it was stopped

The intents recipe on the English `home-assistant-intents` (60 rows an intent, split by sentence template, 35 % of the
templates in the eval split), 8 epochs, batch 64, one seed. The table holds how many of the eval rows each configuration
gets right after each epoch.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("sweep_table.json")
SPACE: dict[str, list[Any]] = {
    "learning_rate": [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016],
    "dropout": [0.0, 0.25, 0.5],
    "label_smoothing": [0.0, 0.1],
    "architecture": ["bag", "cnn"],
    "hidden": [0, 128],
}
FIXED = {"dim": 64}
EPOCHS = 8


def main(folder: str) -> None:
    """Trains what the folder's log does not hold yet, then writes the table."""
    root = Path(folder).absolute()
    (root / "home").mkdir(parents=True, exist_ok=True)
    (root / "store").mkdir(exist_ok=True)
    os.environ.update(
        SHIPWAY_HOME=str(root / "home"), SHIPWAY_STORE=f"file://{root / 'store'}", TF_USE_LEGACY_KERAS="1",
        TF_NUM_INTRAOP_THREADS="1", OMP_NUM_THREADS="1",
    )  # fmt: skip
    from shipway.components.prep.make import make_dataset
    from shipway.components.prep.spec import DatasetSpec
    from shipway.demos.intents import write_intents_csv
    from shipway.specs import parse
    from shipway.storage import Store
    from shipway.training.trial import run_trial

    write_intents_csv(root / "en.csv", "en", rows_per_intent=60)
    spec = {"name": "table", "data": str(root / "en.csv"), "group_column": "group", "eval_fraction": 0.35}
    more = {"test_fraction": 0.05, "on_unseen_label": "quarantine", "max_bad_fraction": 0.2}
    manifest, _ = make_dataset(parse(DatasetSpec, {**spec, **more}, "dataset"), Store.open())
    rows = manifest.splits["eval"].rows
    log = root / "log.jsonl"
    done = (
        {json.dumps(line["params"]): line for line in map(json.loads, log.read_text().splitlines())}
        if log.exists()
        else {}
    )
    points = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    for params in points:
        if json.dumps(params) in done:
            continue
        curve: list[int] = []

        def report(step: int, metrics: dict[str, float], curve: list[int] = curve) -> bool:
            curve.append(round(metrics["val_accuracy"] * rows))
            return True

        training = {"params": {**FIXED, **params}, "epochs": EPOCHS, "batch_size": 64, "early_stopping": None}
        began = time.process_time()
        run_trial({"spec": training, "dataset_uri": manifest.uri}, report)
        line = {"params": params, "correct": curve, "cpu_s": round(time.process_time() - began, 2)}
        done[json.dumps(params)] = line
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
    seconds = sum(done[json.dumps(params)]["cpu_s"] for params in points)
    table = {
        "space": SPACE,
        "fixed": FIXED,
        "epochs": EPOCHS,
        "eval_rows": rows,
        "train_rows": manifest.splits["train"].rows,
    }
    table |= {"cpu_s": round(seconds), "correct": [done[json.dumps(params)]["correct"] for params in points]}
    TABLE.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/tmp/shipway-sweep-table")
