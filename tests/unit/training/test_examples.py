"""Shards are read without TensorFlow, in batches; tests/local/test_served_sums.py holds it against TensorFlow."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.artifacts import FeatureSpec
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.errors import CorruptArtifact
from shipway.recipes.arrays import Ragged
from shipway.training.examples import Examples
from shipway.training.order import Share

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FEATURES = {
    "ids": FeatureSpec(dtype="int64", shape=[None]),
    "weights": FeatureSpec(dtype="float32", shape=[None]),
    "table": FeatureSpec(dtype="float32", shape=[2, 3]),
    "picture": FeatureSpec(dtype="bytes", shape=[]),
}
TARGETS = {"label": FeatureSpec(dtype="int64", shape=[]), "label_tags": FeatureSpec(dtype="int64", shape=[None])}
EXAMPLES = Examples(FEATURES, TARGETS)


def columns(rows: list[list[int]], seed: int = 0) -> dict[str, np.ndarray | Ragged]:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    pictures = np.empty(len(rows), dtype=object)
    pictures[:] = [random.bytes(int(size)) for size in random.integers(0, 9, len(rows))]
    ids = Ragged.of([np.array(row, np.int64) for row in rows], np.int64)
    return {
        "ids": ids,
        "weights": Ragged.of([random.random(len(row)).astype(np.float32) for row in rows], np.float32),
        "table": random.random((len(rows), 2, 3)).astype(np.float32),
        "picture": pictures,
        "label": random.integers(-3, 99, len(rows)),
        "label_tags": Ragged(ids.values, ids.offsets),
        "nobody_reads": random.random(len(rows)).astype(np.float32),
    }


def write(path: Path, given_columns: dict[str, np.ndarray | Ragged]) -> Path:  # type: ignore[type-arg]
    with path.open("wb") as file:
        write_records(file, serialise(given_columns))
    return path


@settings(deadline=None)
@given(rows=st.lists(st.lists(INT64, max_size=5), min_size=1, max_size=7))
def test_any_numbers_come_back(rows: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    written = columns(rows)
    features, targets = EXAMPLES.everything([write(tmp_path_factory.mktemp("x") / "a.tfrecord", written)])
    assert (set(features), set(targets)) == (set(FEATURES), set(TARGETS))
    for name, value in {**features, **targets}.items():
        expected = written[name]
        if isinstance(value, Ragged):
            assert isinstance(expected, Ragged)
            assert np.array_equal(value.offsets, expected.offsets)
            value, expected = value.values, expected.values
        assert np.array_equal(value, expected)  # type: ignore[arg-type]
        assert value.dtype == expected.dtype  # type: ignore[union-attr]


def test_batches_go_on_over_files_and_workers_share_the_records(tmp_path: Path) -> None:
    rows = [[number] for number in range(11)]
    paths = [write(tmp_path / "a", columns(rows[:4])), write(tmp_path / "b", columns(rows[4:]))]
    ids = [features["ids"].values.tolist() for features, _ in EXAMPLES.batches(paths, 3)]  # type: ignore[union-attr]
    assert ids == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
    own = [EXAMPLES.everything(paths, Share(rank, 2))[0]["ids"].values.tolist() for rank in (0, 1)]  # type: ignore[union-attr]
    assert own == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9]]


def test_a_file_is_read_in_the_memory_of_a_batch(tmp_path: Path) -> None:
    wide = FeatureSpec(dtype="float32", shape=[1000])
    path = write(tmp_path / "a", {"wide": np.ones((4000, 1000), np.float32)})
    assert path.stat().st_size > 16_000_000
    tracemalloc.start()
    try:
        assert sum(len(features["wide"]) for features, _ in Examples({"wide": wide}, {}).batches([path], 32)) == 4000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000, "a batch has 128 kB"


def test_what_follows_a_rows_length_is_padded_as_in_training(tmp_path: Path) -> None:
    rows = EXAMPLES.everything([write(tmp_path / "a", columns([[7, 8], [], [9]]))])
    features, targets = EXAMPLES.padded(rows)
    assert features["ids"].tolist() == [[7, 8], [0, 0], [9, 0]]
    assert targets["label_tags"].tolist() == [[7, 8], [-1, -1], [9, -1]]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"table": FeatureSpec(dtype="float32", shape=[7])}, "a feature of 6 values, expected 7"),
        ({"ids": FeatureSpec(dtype="float32", shape=[None])}, "ids holds a list of kind 3, expected 2"),
        ({"absent": FeatureSpec(dtype="int64", shape=[])}, "a feature of 0 values, expected 1"),
    ],
)
def test_a_record_that_is_not_as_its_manifest_says_is_named(
    features: dict[str, FeatureSpec], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tfrecord", columns([[1]]))
    with pytest.raises(CorruptArtifact, match=rf"a\.tfrecord: damaged record \({message}\); prepare the dataset again"):
        Examples(features, {}).everything([path])


@pytest.mark.parametrize("left", [3, 11, 12, 40])
def test_a_file_that_ends_within_a_record_is_named(left: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", columns([[1], [2]]))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CorruptArtifact, match="it ends within a record"):
        EXAMPLES.everything([path])
