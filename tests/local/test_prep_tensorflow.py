"""TensorFlow itself reads the shards that prep wrote without it."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from shipway.artifacts import DatasetManifest
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.demos.intents import write_intents_csv
from shipway.recipes import load_recipe
from shipway.storage import Store


def read_shards(folder: str) -> Iterator[tuple[str, dict[str, list[object]]]]:
    """The path of a shard and some of its rows, column by column."""
    import tensorflow as tf

    features = {"label": tf.io.FixedLenFeature([], tf.int64)}
    features |= {name: tf.io.RaggedFeature(tf.int64) for name in ("grams", "words")}
    for path in sorted(glob.glob(f"{folder}/*/*.tfrecord")):
        for batch in tf.data.TFRecordDataset(path).batch(512):
            rows = tf.io.parse_example(batch, features)
            yield (
                path,
                {name: (v.to_list() if hasattr(v, "to_list") else v.numpy().tolist()) for name, v in rows.items()},
            )


@pytest.mark.heavy
@pytest.mark.xdist_group("tensorflow")
def test_tensorflow_reads_what_the_encoder_gave(tmp_path: Path, local_store_uri: str) -> None:
    write_intents_csv(tmp_path / "rows.csv", "de", rows_per_intent=12)
    store = Store.open(local_store_uri)
    spec = DatasetSpec(name="bot", data=str(tmp_path / "rows.csv"), group_column="group")
    manifest: DatasetManifest = make_dataset(spec, store)[0]
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    encoder = load_recipe("intents").load_encoder(json.loads(store.get(f"{prefix}/encoder.json")))
    read: dict[str, dict[str, list[object]]] = {}
    for path, batch in read_shards(f"{local_store_uri.removeprefix('file://')}/{prefix}"):
        for name, values in batch.items():
            read.setdefault("/".join(path.split("/")[-2:]), {}).setdefault(name, []).extend(values)
    shards = [
        (shard, file)
        for part in manifest.splits.values()
        for shard, file in zip(part.shards, part.row_files, strict=True)
    ]
    assert set(read) == {shard.path for shard, _ in shards}
    for shard, file in shards:
        rows = pl.read_parquet(store.get(f"{prefix}/{file.path}"))
        expected = encoder.encode(rows.get_column("text").to_list())
        found = read[shard.path]
        assert found["label"] == [encoder.labels.index(label) for label in rows.get_column("label")]
        for name in ("grams", "words"):
            ragged = expected[name]
            bounds = zip(ragged.offsets, ragged.offsets[1:], strict=False)  # type: ignore[union-attr]
            assert found[name] == [ragged.values[start:end].tolist() for start, end in bounds]  # type: ignore[union-attr]
