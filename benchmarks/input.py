"""The training input from object storage, against parsing records of n-gram ids held in memory.

Ours downloads the shards, verifies their sha256, parses them, hashes the texts' n-grams, shuffles and gives padded
batches; both ways in are measured (`memory` holds the encoded split, `stream` reads and encodes the shards again each
epoch) over the epochs of a short training, and the worse one counts. The baseline has every row encoded already, as a
record in memory, and only batches and parses, in file order.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks._train_data import dataset

ROWS, SHARDS, EPOCHS, BATCH, ROUNDS = 60_000, 8, 3, 64, 3
GOAL = 0.8


def main() -> dict[str, Any]:
    """Ratio of examples a second, ours over the baseline's."""
    with dataset(ROWS, SHARDS) as (manifest, folder):
        return _measure(manifest, folder)


def _measure(manifest: Any, folder: Path) -> dict[str, Any]:
    import tensorflow as tf

    from shipway.artifacts import FeatureSpec
    from shipway.components.prep.tfrecord import serialise
    from shipway.training import data as td
    from shipway.training import shards as sh
    from shipway.training.order import Share
    from shipway.training.unpacking import as_columns

    targets = {"label": FeatureSpec(dtype="int64", shape=[])}
    encoder, _ = sh.fetch_encoder(manifest, "intents", folder)
    parser = td.Parser.of(manifest, encoder, ["grams"], targets)
    shards = sh.split_shards(manifest, "train")
    steps = EPOCHS * ROWS // BATCH

    def drain(batches: Any) -> None:
        for _ in batches.take(steps):
            pass

    def memory(work: Path) -> None:
        split = parser.load(sh.fetch_shards(manifest, shards, work), ROWS)
        drain(td.memory_batches(parser, split, ROWS, BATCH, 0, 0, Share(0, 1)))

    def stream(work: Path) -> None:
        paths = sh.fetch_shards(manifest, shards, work)
        drain(td.stream_batches(parser, shards, paths, BATCH, 0, 0))

    paths = sh.fetch_shards(manifest, shards, folder / "held")
    split = parser.load(paths, ROWS)
    records = tf.constant(serialise(as_columns(split)))
    plain = td.Parser(parser.features, targets)

    def baseline(_work: Path) -> None:
        held = tf.data.Dataset.from_tensor_slices(records).repeat().batch(BATCH, drop_remainder=True)
        drain(held.map(lambda one: plain.dense(plain(one)), num_parallel_calls=2).prefetch(4))

    ways = {"memory": memory, "stream": stream, "baseline": baseline}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way(folder / f"{name}-{number}")
            seconds[name].append(time.perf_counter() - began)
    rate = {name: round(EPOCHS * ROWS / statistics.median(took)) for name, took in seconds.items()}
    ratios = {name: round(rate[name] / rate["baseline"], 3) for name in ("memory", "stream")}
    ratio = min(ratios.values())
    size = sum(shard.size_bytes for shard in shards)
    return {
        "name": "input",
        "ratio": ratio,
        "goal": GOAL,
        "meets_goal": ratio >= GOAL,
        "baseline": "tf.data parsing records of the same n-gram ids held in memory, unshuffled",
        "details": {
            "ratios": ratios, "examples_per_s": rate, "rows": ROWS, "epochs": EPOCHS, "batch": BATCH,
            "bytes_per_row": size // ROWS,
        },
    }  # fmt: skip


if __name__ == "__main__":
    import json

    print(json.dumps(main(), sort_keys=True))
