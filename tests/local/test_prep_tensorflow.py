"""TensorFlow itself reads the shards that prep wrote without it."""

from __future__ import annotations

import glob
import json
from pathlib import Path

import polars as pl
import pytest

from shipway.artifacts import DatasetManifest, FeatureSpec
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.demos.intents import write_intents_csv
from shipway.recipes import Ragged, load_recipe
from shipway.storage import Store


@pytest.mark.heavy
@pytest.mark.xdist_group("tensorflow")
def test_tensorflow_reads_what_the_encoder_gave(tmp_path: Path, local_store_uri: str) -> None:
    import tensorflow as tf

    from shipway.training import data as td

    write_intents_csv(tmp_path / "rows.csv", "de", rows_per_intent=12)
    store = Store.open(local_store_uri)
    spec = DatasetSpec(name="bot", data=str(tmp_path / "rows.csv"), group_column="group")
    manifest: DatasetManifest = make_dataset(spec, store)[0]
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    encoder = load_recipe("intents").load_encoder(json.loads(store.get(f"{prefix}/encoder.json")))
    parser = td.Parser.of(manifest, encoder, encoder.features, {"label": FeatureSpec(dtype="int64", shape=[])})
    held = {"text": tf.io.FixedLenFeature([], tf.string)}
    parts = manifest.splits.values()
    pairs = [pair for part in parts for pair in zip(part.shards, part.row_files, strict=True)]
    assert {f"{store.uri}/{prefix}/{shard.path}" for shard, _ in pairs} == {
        f"file://{path}" for path in glob.glob(f"{store.uri.removeprefix('file://')}/{prefix}/*/*.tfrecord")
    }
    for shard, file in pairs:
        rows = pl.read_parquet(store.get(f"{prefix}/{file.path}"))
        path = Path(store.uri.removeprefix("file://"), prefix, shard.path)
        texts = [tf.io.parse_example(record, held)["text"].numpy() for record in tf.data.TFRecordDataset(str(path))]
        assert [text.decode() for text in texts] == rows.get_column("text").to_list(), "a record holds the text itself"
        expected = encoder.encode(rows.get_column("text").to_list())
        found = parser.load([path], len(rows))
        assert found["label"].numpy().tolist() == [encoder.labels.index(label) for label in rows.get_column("label")]
        for name in ("grams", "words"):
            ragged = expected[name]
            assert isinstance(ragged, Ragged)
            assert found[name].flat_values.numpy().tolist() == ragged.values.tolist()
            assert found[name].row_splits.numpy().tolist() == ragged.offsets.tolist()
