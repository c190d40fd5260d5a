"""The step time of strategy `single` in our loop, against a bare tf_keras `fit` of the same model and data.

Ours keeps its record of progress, watches for stalls and draws its batches and dropout masks as functions of the step;
the baseline is the model, a shuffled tf.data pipeline over the same parsed rows, and `fit`.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks._train_data import dataset

ROWS, BATCH, STEPS, WARM, ROUNDS = 8_000, 64, 120, 20, 5
GOAL = 1.05


def main() -> dict[str, Any]:
    """Ratio of seconds a step, ours over the bare fit's: medians of interleaved rounds."""
    with dataset(ROWS, 2) as (manifest, folder):
        os.environ["SHIPWAY_PROGRESS"] = str(folder / "progress.jsonl")
        ours, bare = [], []
        for number in range(ROUNDS):
            sides = [(ours, _ours), (bare, _bare)]
            for taken, measure in sides if number % 2 else reversed(sides):
                taken.append(measure(manifest, folder))
    ratio = round(statistics.median(ours) / statistics.median(bare), 3)
    return {
        "name": "train",
        "ratio": ratio,
        "goal": GOAL,
        "meets_goal": ratio <= GOAL,
        "baseline": "a bare tf_keras fit of the same model and data",
        "details": {
            "ours_ms": round(statistics.median(ours) * 1e3, 3), "bare_ms": round(statistics.median(bare) * 1e3, 3),
            "batch": BATCH, "steps": STEPS, "rounds": ROUNDS,
        },
    }  # fmt: skip


class _Clock:
    """Stands where the stall watch does: it is told of every step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def alive(self) -> None:
        self.times.append(time.perf_counter())


def _ours(manifest: Any, folder: Path) -> float:
    import tf_keras

    from shipway.training.loop import fit
    from shipway.training.progress import Monitor, ProgressFile
    from shipway.training.spec import FitSpec

    tf_keras.backend.clear_session()
    clock = _Clock()
    monitor = Monitor(progress=ProgressFile(), stall=clock)  # type: ignore[arg-type]
    spec = FitSpec(name="bench", steps=WARM + STEPS, checkpoint_steps=WARM + STEPS, batch_size=BATCH)
    fit(spec, manifest, folder, monitor=monitor)
    return (clock.times[-1] - clock.times[WARM - 1]) / STEPS


def _bare(manifest: Any, folder: Path) -> float:
    import tensorflow as tf
    import tf_keras

    from shipway.recipes import load_recipe
    from shipway.tasks import task_of
    from shipway.training import data as td
    from shipway.training import shards as sh

    tf_keras.backend.clear_session()
    recipe = load_recipe("intents")
    encoder, _ = sh.fetch_encoder(manifest, recipe.name, folder)
    model = recipe.build_model(recipe.Params(), encoder)
    recipe.compile_model(model, recipe.Params())
    parser = td.Parser.of(manifest, encoder, ["grams"], task_of(recipe).labels.targets(encoder))
    split = parser.load(sh.fetch_shards(manifest, sh.split_shards(manifest, "train"), folder / "bare"), ROWS)
    rows = tf.data.Dataset.from_tensor_slices(split).shuffle(ROWS).repeat().batch(BATCH, drop_remainder=True)
    began: list[float] = []
    clock = tf_keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: began.append(time.perf_counter()),
        on_epoch_end=lambda *_: ended.append(time.perf_counter()),
    )
    ended: list[float] = []

    def pairs(parsed: Any) -> Any:
        features, targets = parser.dense(parsed)
        return features, targets["label"]

    batches = rows.map(pairs, num_parallel_calls=2).prefetch(4)
    iterator = iter(batches)
    for steps in (WARM, STEPS):
        model.fit(iterator, steps_per_epoch=steps, epochs=1, verbose=0, callbacks=[clock])
    return (ended[-1] - began[-1]) / STEPS


if __name__ == "__main__":
    import json

    print(json.dumps(main(), sort_keys=True))
