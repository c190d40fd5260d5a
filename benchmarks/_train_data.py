"""A dataset of generated sentences in the embedded store, for the `input`, `train` and `scaling` benchmarks."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest, FileRef, Shard, SplitManifest
from shipway.canonical import sha256_hex
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.recipes import load_recipe
from shipway.recipes.base import Packs
from shipway.storage import embedded, open_folder

CLASSES = 50


@contextmanager
def dataset(
    rows: int, shards: int, eval_rows: int = 500, *, classes: int = CLASSES, recipes: Sequence[str] = ("intents",)
) -> Iterator[tuple[DatasetManifest, Path]]:
    """The dataset of the last recipe, and a work folder; the store ends with the block.

    Those of the others lie beside it: `s3://shipway/bench/<n>`, in their order.
    """
    with tempfile.TemporaryDirectory(prefix="shipway-bench-") as name:
        folder = Path(name)
        os.environ.update(embedded.environment(embedded.start(folder / "home")))
        try:
            made = [_make(folder, each, rows, shards, eval_rows, classes, n) for n, each in enumerate(recipes)]
            yield made[-1], folder
        finally:
            embedded.stop(folder / "home", grace_s=0)


def _make(
    folder: Path, recipe_name: str, rows: int, shards: int, eval_rows: int, classes: int, number: int
) -> DatasetManifest:
    dice = random.Random(0)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(5000)]
    weights = [1 / (rank + 2) for rank in range(len(words))]

    def sentences(count: int) -> tuple[list[str], list[int]]:
        labels = [dice.randrange(classes) for _ in range(count)]
        texts = [" ".join([*dice.choices(words, weights, k=dice.randint(4, 12)), words[label]]) for label in labels]
        return texts, labels

    texts, labels = sentences(min(rows, 20_000))  # distinct ones; more rows repeat them
    recipe = load_recipe(recipe_name)
    frame = pl.DataFrame({"text": texts, "label": [f"c{label:02d}" for label in labels]})
    encoder = recipe.fit_encoder([frame], recipe.EncoderParams())
    assert isinstance(encoder, Packs)
    uri = f"s3://shipway/bench/{number}"
    store = open_folder(uri)

    def shard(path: str, some: list[str], ids: list[int]) -> Shard:
        target = folder / "shard"
        with target.open("wb") as file:
            write_records(file, serialise({**encoder.pack(some), "label": np.array(ids, dtype=np.int64)}))
        return Shard(**store.upload(target, path).model_dump(), rows=len(some))

    each = rows // shards
    train = []
    for number in range(shards):
        picked = [(number * each + i) % len(texts) for i in range(each)]
        train.append(shard(f"train/{number:05d}.tfrecord", [texts[i] for i in picked], [labels[i] for i in picked]))
    judged = shard("eval/00000.tfrecord", *sentences(eval_rows))
    document = json.dumps(encoder.to_document()).encode()
    store.put("encoder.json", document)
    reference = FileRef(path="encoder.json", size_bytes=len(document), sha256=sha256_hex(document))
    splits = {
        "train": SplitManifest(rows=each * shards, groups=each * shards, shards=train),
        "eval": SplitManifest(rows=eval_rows, groups=eval_rows, shards=[judged]),
    }
    manifest = DatasetManifest(
        name="bench", uri=uri, fingerprint="0" * 16, recipe=recipe_name, labels=encoder.labels,
        features=encoder.features, packed=encoder.packed, splits=splits, encoder=reference,
        encoder_sha256=reference.sha256,
    )  # fmt: skip
    store.put("manifest.json", manifest.to_json().encode())
    return manifest
