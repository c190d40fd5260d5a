"""Records that an encoder packed become features where they are read."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest, FeatureSpec, Shard
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.errors import InvalidData
from shipway.recipes.arrays import Encoded, Ragged
from shipway.training.order import Share
from tests.fixtures.tiny_model import Tiny

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

TARGETS = {"label": FeatureSpec(dtype="int64", shape=[])}
ROWS = 300


class Digits:
    """Numbers, packed as themselves and as bytes; features of every kind."""

    labels: Sequence[str] = ()
    packed: ClassVar = {
        "number": FeatureSpec(dtype="int64", shape=[]),
        "parts": FeatureSpec(dtype="bytes", shape=[None]),
    }
    features: ClassVar = {
        "pairs": FeatureSpec(dtype="float32", shape=[None, 2]),
        "square": FeatureSpec(dtype="int64", shape=[1]),
        "texts": FeatureSpec(dtype="bytes", shape=[None]),
    }

    def pack(self, values: Sequence[int]) -> Encoded:
        parts = [np.array([str(value).encode()] * (value % 4), dtype=object) for value in values]
        return {"number": np.array(values), "parts": Ragged.of(parts, object)}

    def unpack(self, records: Encoded, features: Collection[str]) -> Encoded:
        numbers, parts = records["number"], records["parts"]
        assert isinstance(numbers, np.ndarray)
        assert isinstance(parts, Ragged)
        pairs = [np.repeat([number, number / 2], number % 3) for number in numbers.tolist()]
        made: Encoded = {"pairs": Ragged.of(pairs, np.float32), "square": numbers[:, None] ** 2, "texts": parts}
        return {name: made[name] for name in features}

    def encode(self, values: Sequence[int]) -> Encoded:
        return self.unpack(self.pack(values), list(self.features))

    def to_document(self) -> dict[str, Any]:
        return {}


def written(folder: Path, values: list[int]) -> list[Path]:
    path = folder / "one.tfrecord"
    with path.open("wb") as file:
        write_records(file, serialise({**Digits().pack(values), "label": np.array(values)}))
    return [path]


def parser_of(tiny: Tiny) -> Any:
    from shipway.training.data import Parser

    manifest = tiny.dataset.model_copy(update={"features": Digits.features, "packed": Digits.packed})
    return Parser.of(manifest, Digits(), Digits.features, TARGETS)


def test_a_batch_of_packed_records_is_the_encoders_features_padded(tiny: Tiny, tmp_path: Path) -> None:
    parser = parser_of(tiny)
    split = parser.load(written(tmp_path, list(range(ROWS))), ROWS)
    features, targets = parser.dense({name: value[5:9] for name, value in split.items()})
    assert np.asarray(targets["label"]).tolist() == [5, 6, 7, 8]
    assert np.asarray(features["square"]).tolist() == [[25], [36], [49], [64]]
    assert np.asarray(features["texts"]).tolist() == [[b"5", b"", b""], [b"6", b"6", b""], [b"7"] * 3, [b""] * 3]
    expected = [[[5, 5], [2.5, 2.5]], [[0, 0]] * 2, [[7, 3.5], [0, 0]], [[8, 8], [4, 4]]]
    assert np.asarray(features["pairs"]).tolist() == expected


@pytest.mark.parametrize("batch", [7, 48, 200])
def test_a_stream_of_packed_records_is_in_their_order_from_any_step(tiny: Tiny, tmp_path: Path, batch: int) -> None:
    from shipway.training import data as td

    parser = parser_of(tiny)
    paths = written(tmp_path, list(range(ROWS)))
    shards = [Shard(path="one.tfrecord", size_bytes=1, sha256="0" * 64, rows=ROWS)]
    steps = 2 * ROWS // batch
    for first in (0, 1, steps - 1):
        batches = td.stream_batches(parser, shards, paths, batch, 3, first).take(steps - first)
        found = [(x, np.asarray(y["label"])) for x, y in batches]
        labels = np.concatenate([label for _, label in found]).tolist()
        assert labels == [row % ROWS for row in range(first * batch, steps * batch)]
        for features, label in found:  # all of them are still there: none was written over
            assert (np.asarray(features["square"])[:, 0] == label**2).all()
            assert (np.asarray(features["pairs"])[:, 0, 0] == np.where(label % 3, label, 0)).all()


def test_memory_gives_the_same_rows_as_records_that_were_not_packed(tiny: Tiny, tmp_path: Path) -> None:
    from shipway.training import data as td

    parser, plain = parser_of(tiny), td.Parser({"square": Digits.features["square"]}, TARGETS)
    split = parser.load(written(tmp_path, list(range(ROWS))), ROWS)
    path = tmp_path / "plain.tfrecord"
    with path.open("wb") as file:
        numbers = np.arange(ROWS)
        write_records(file, serialise({"square": numbers[:, None] ** 2, "label": numbers}))
    other = plain.load([path], ROWS)
    both = zip(
        td.memory_batches(parser, split, ROWS, 32, 7, 2, Share(1, 2)).take(5),
        td.memory_batches(plain, other, ROWS, 32, 7, 2, Share(1, 2)).take(5),
        strict=True,
    )
    for (one, label), (two, same) in both:
        assert np.asarray(one["square"]).tolist() == np.asarray(two["square"]).tolist()
        assert np.asarray(label["label"]).tolist() == np.asarray(same["label"]).tolist()


@pytest.mark.parametrize("bearable", [0, 1 << 20])
def test_what_a_recipe_solves_with_is_features_as_declared_however_they_are_held(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bearable: int
) -> None:
    from shipway.training import data as td

    monkeypatch.setattr(td, "HELD_BYTES", bearable)
    parser = parser_of(tiny)
    assert parser.is_late == (bearable == 0)
    columns = parser.columns(parser.load(written(tmp_path, list(range(ROWS))), ROWS))
    expected = Digits().encode(list(range(ROWS)))
    assert set(columns) == {*Digits.features, "label"}
    assert isinstance(columns["square"], np.ndarray)
    assert columns["square"].dtype == np.int64
    assert columns["square"].tolist() == expected["square"].tolist()  # type: ignore[union-attr]
    for name in ("pairs", "texts"):
        got, wanted = columns[name], expected[name]
        assert isinstance(got, Ragged)
        assert isinstance(wanted, Ragged)
        assert got.values.reshape(-1).tolist() == wanted.values.reshape(-1).tolist()


def test_records_that_the_installed_recipe_does_not_unpack_are_refused(tiny: Tiny) -> None:
    from shipway.training.data import Parser

    manifest = tiny.dataset.model_copy(update={"packed": {"sound": FeatureSpec(dtype="bytes", shape=[])}})
    with pytest.raises(InvalidData, match="records hold sound, which the installed recipe 'intents' does not unpack"):
        Parser.of(manifest, Digits(), ["grams"], TARGETS)


def test_a_split_is_as_large_as_its_features_not_as_its_packed_records(
    tiny: Tiny, store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipway.training import data as td
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    class Streamed(Exception):
        pass

    def streamed(*_: Any) -> None:
        raise Streamed

    assert tiny.dataset.packed
    assert tiny.dataset.unpacked_bytes > 100
    monkeypatch.setattr(td, "stream_batches", streamed)
    large: DatasetManifest = tiny.dataset.model_copy(update={"unpacked_bytes": 10 << 20})
    spec = FitSpec(params={"dim": 4, "hidden": 0, "members": 1}, steps=1, memory_limit_mb=64)
    with pytest.raises(Streamed):
        fit(spec, large, tmp_path)
    assert fit(spec, tiny.dataset, tmp_path).state.step == 1
