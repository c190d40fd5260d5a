"""A dataset's records as tensors, and batches that are a pure function of (seed, step, world size).

Two ways in. `memory`: the parsed split is held as tensors, and each step's global batch is a slice of a seeded
permutation over all records; worker w of n takes the w-th part of it, so the global batch holds the same examples for
any n. `stream`: each worker downloads only its share of the shards, and reads each of them again each epoch, unpacked
ones from a file; its batches depend on the number of workers, since its share does. Imports TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest, FeatureSpec, Shard
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.recipes import Encoder
from shipway.recipes.arrays import Encoded, concatenate, part
from shipway.tasks.base import TARGET_PADDING
from shipway.training.held import Padding, Piece, StreamOrder, UnpackedShards, narrow
from shipway.training.order import Share, local_batches
from shipway.training.shards import packer_of
from shipway.training.unpacking import DTYPES as DTYPES
from shipway.training.unpacking import Unpacking, as_columns, as_declared, as_tensors, is_ragged

PARSE_BATCH = 1024
HELD_BYTES = 512 << 20  # of a split's features; where they take more, each batch is unpacked by itself
UNPACK_BATCH = 256  # an encoder is slow with a few rows; arrays of many rows are fresh pages each time
PADDING: dict[str, Any] = {"int64": 0, "float32": 0.0, "uint8": 0, "bytes": b""}  # of features

Batch = tuple[dict[str, Any], dict[str, Any]]  # features and targets by name, dense


class Parser:
    """Serialised `tf.train.Example` records to tensors, a batch at a time; equal parsers give the same of one dataset.

    Args:
        features: The encoded features to read; what a model does not use is not even parsed.
        targets: What is learned from them, as the task's `Labels.targets` states it.
        unpacking: Makes the features, where the records hold something smaller.
        is_late: It does so batch by batch, and not when records are parsed: what is held is as small as the records.
    """

    def __init__(
        self,
        features: Mapping[str, FeatureSpec],
        targets: Mapping[str, FeatureSpec],
        unpacking: Unpacking | None = None,
        *,
        is_late: bool = False,
    ) -> None:
        self.features, self.targets, self.unpacking = dict(features), dict(targets), unpacking
        self.is_late = is_late
        self._padding = {name: PADDING[spec.dtype] for name, spec in features.items()}
        self._padding |= {name: TARGET_PADDING[spec.dtype] for name, spec in targets.items()}
        self._rows = Padding(self.tensors, self._padding)
        self._schema: dict[str, Any] = {}
        self._padding_schema: dict[str, Any] = {}  # where it differs
        held = self.features if unpacking is None else unpacking.packed
        for name, spec in (held | self.targets).items():
            if not is_ragged(spec):
                self._schema[name] = tf.io.FixedLenFeature(spec.shape, DTYPES[spec.dtype])
                continue
            partitions = [tf.io.RaggedFeature.UniformRowLength(int(n)) for n in spec.shape[1:] if n is not None]
            self._schema[name] = tf.io.RaggedFeature(
                DTYPES[spec.dtype], partitions=partitions, row_splits_dtype=tf.int64
            )
            self._padding_schema[name] = tf.io.FixedLenSequenceFeature(
                spec.shape[1:], DTYPES[spec.dtype], allow_missing=True, default_value=self._padding.get(name)
            )

        self._parsed = tf.function(lambda serialised: tf.io.parse_example(serialised, self._schema))

    @classmethod
    def of(
        cls, manifest: DatasetManifest, encoder: Encoder, features: Iterable[str], targets: Mapping[str, FeatureSpec]
    ) -> Parser:
        """For a dataset's records: those of its features that a model takes.

        Raises:
            InvalidData: the records are packed, and the installed recipe's encoder does not unpack.
            InvalidSpec: a feature that the encoder does not give.
        """
        some = {name: manifest.features[name] for name in features if name in manifest.features}
        if missing := set(features) - set(some):
            raise InvalidSpec(
                f"its model takes {min(missing)!r}, which its encoder does not give; it gives "
                f"{', '.join(manifest.features)}",
                field=f"recipe {manifest.recipe!r}",
                given=min(missing),
            )
        packer = packer_of(manifest, encoder)
        if packer is None:
            return cls(some, targets)
        rows = max(part.encoded_rows for part in manifest.splits.values())
        is_late = rows * sum(spec.row_bytes or 0 for spec in some.values()) > HELD_BYTES
        return cls(some, targets, Unpacking(packer, manifest.packed, some), is_late=is_late)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parser) and self._same == other._same

    def __hash__(self) -> int:
        return hash((tuple(self.features), tuple(self.targets)))

    @property
    def _same(self) -> tuple[Any, ...]:
        return self.features, self.targets, self.is_late

    @property
    def tensors(self) -> dict[str, FeatureSpec]:
        """Features and targets."""
        return self.features | self.targets

    def __call__(self, serialised: Any) -> dict[str, Any]:
        """Ragged or dense tensors by name, targets among them."""
        parsed: dict[str, Any] = tf.io.parse_example(serialised, self._schema)
        return parsed if self.is_late else self._unpacked(parsed)

    def _unpacked(self, parsed: dict[str, Any]) -> dict[str, Any]:
        if self.unpacking is None:
            return parsed
        return self.unpacking(parsed) | {name: parsed[name] for name in self.targets}

    def dense(self, parsed: Mapping[str, Any]) -> Batch:
        """Features and targets, padded to the batch's longest: what `fit` takes."""
        made = self._unpacked(dict(parsed)) if self.is_late else parsed
        return self._sides({name: self._padded(name, made[name]) for name in self.tensors})

    def padded(self, serialised: Any) -> Batch:
        """The same as `dense` of what was parsed, in one go: for records that are used once."""
        if self.unpacking is not None:
            return self.dense(self(serialised))
        parsed: dict[str, Any] = tf.io.parse_example(serialised, self._schema | self._padding_schema)
        for name in self._padding_schema:
            value = parsed[name]
            missing = tf.maximum(1 - tf.shape(value)[1], 0)  # at least one column, as in `dense`
            around = [[0, 0], [0, missing], *([[0, 0]] * (value.shape.rank - 2))]
            parsed[name] = tf.pad(value, around, constant_values=self._padding[name])
        return self._sides(parsed)

    @property
    def parallel(self) -> int:
        """Batches to make at once: unpacking one may take longer than a model's step."""
        return max(len(os.sched_getaffinity(0)), 2) if self.is_late else 2

    def _sides(self, tensors: Mapping[str, Any]) -> Batch:
        return {name: tensors[name] for name in self.features}, {name: tensors[name] for name in self.targets}

    def _padded(self, name: str, value: Any) -> Any:
        dtype = DTYPES[self.tensors[name].dtype]
        value = value if value.dtype == dtype else tf.cast(value, dtype)  # `load` narrows whole numbers
        if not is_ragged(self.tensors[name]):
            return value
        # A batch of empty texts still needs one column, as `Ragged.to_padded` gives it.
        longest = tf.maximum(tf.reduce_max(value.row_lengths()), 1)
        inner = [tf.constant(size, tf.int64) for size in self.tensors[name].shape[1:]]
        shape = tf.stack([tf.constant(-1, tf.int64), longest, *inner])
        return value.to_tensor(default_value=self._padding[name], shape=shape)

    def unpacked(self, pieces: Callable[[int], Sequence[Piece]], batch: int, step: int) -> Any:
        """A tf.data.Dataset of (features, targets) of rows that are unpacked already, without end.

        Args:
            pieces: The rows of a step's batch; called from several threads at once.
            batch: How many they are.
            step: The first one.
        """
        specs = self.tensors
        types = [DTYPES[spec.dtype] for spec in specs.values()]

        def made(number: Any) -> Batch:
            arrays = tf.numpy_function(lambda step: self._rows(pieces(int(step))), [number], types, stateful=False)
            for array, spec in zip(arrays, specs.values(), strict=True):
                array.set_shape([batch, *spec.shape])
            return self._sides(dict(zip(specs, arrays, strict=True)))

        return tf.data.Dataset.counter(step).map(made, num_parallel_calls=self.parallel, deterministic=True)

    def read(self, paths: Sequence[Path]) -> Any:
        """Parsed batches of each file in turn: no interleaving, which measured several times slower."""
        if self.unpacking is None or self.is_late:
            return self._held(paths)
        # One block at a time: two would hand the interpreter's lock to and fro.
        return self._held(paths).map(self._unpacked).prefetch(2)

    def _held(self, paths: Sequence[Path]) -> Any:
        """Batches of what the records hold, as it is."""

        def parse(serialised: Any) -> Any:
            return tf.io.parse_example(serialised, self._schema)

        batches = tf.data.TFRecordDataset([str(path) for path in paths]).batch(PARSE_BATCH)
        return batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)

    def blocks(self, paths: Sequence[Path]) -> Iterator[Encoded]:
        """Columns of some rows after the other: features, or what the records hold where `is_late`; and targets.

        Raises:
            CorruptArtifact: a damaged record.
        """
        try:
            for serialised in tf.data.TFRecordDataset([str(path) for path in paths]).batch(PARSE_BATCH).prefetch(2):
                columns = as_columns(self._parsed(serialised))
                if self.unpacking is None or self.is_late:
                    yield columns
                else:
                    yield from self._in_features(columns, self.unpacking)
        except tf.errors.DataLossError as error:
            raise CorruptArtifact(f"shards: damaged record ({error.message}); prepare the dataset again") from error

    def _in_features(self, records: Encoded, unpacking: Unpacking) -> Iterator[Encoded]:
        rows = len(next(iter(records.values())))
        for start in range(0, rows, UNPACK_BATCH):
            some = part(records, start, min(start + UNPACK_BATCH, rows))
            yield unpacking.columns(some) | {name: some[name] for name in self.targets}

    def columns(self, split: Mapping[str, Any]) -> Encoded:
        """Features and targets of what `load` gave, as arrays of the types that they are declared with."""
        columns = as_columns(split)
        if self.unpacking is not None and self.is_late:
            columns = concatenate(self._in_features(columns, self.unpacking))
        return {name: as_declared(columns[name], spec) for name, spec in self.tensors.items()}

    def load(self, paths: Sequence[Path], rows: int) -> dict[str, Any]:
        """A whole split as one tensor for each feature and target; whole numbers in half the room, where they fit.

        Raises:
            CorruptArtifact: the files hold another number of records than the manifest says.
        """
        split = as_tensors(concatenate(map(narrow, self.blocks(paths))))
        records = rows_in(split)
        if records != rows:
            raise CorruptArtifact(f"shards hold {records} records, the manifest says {rows}; prepare the dataset again")
        return split


def rows_in(tensors: Mapping[str, Any]) -> int:
    """Rows of parsed tensors."""
    value = next(iter(tensors.values()))
    return int(value.nrows() if isinstance(value, tf.RaggedTensor) else value.shape[0])


def memory_batches(
    parser: Parser, split: dict[str, Any], rows: int, batch: int, seed: int, step: int, share: Share
) -> Any:
    """A tf.data.Dataset of (features, targets): this worker's part of each global batch from `step` on, without end."""

    def gather(picked: Any) -> Any:
        return parser.dense({name: tf.gather(value, picked) for name, value in split.items()})

    indices = tf.data.Dataset.from_generator(
        lambda: _blocks(local_batches(rows, batch, seed, step, share)),
        output_signature=tf.TensorSpec((None, batch // share.size), tf.int64),
    )
    return _ready(indices.unbatch().map(gather, num_parallel_calls=parser.parallel, deterministic=True))


def _blocks(batches: Iterator[NDArray[np.int64]], size: int = 64) -> Iterator[NDArray[np.int64]]:
    """Several steps' indices at once: a Python call for each step would cost as much as gathering its rows."""
    while True:
        yield np.stack([next(batches) for _ in range(size)])


def stream_batches(
    parser: Parser, shards: Sequence[Shard], paths: Sequence[Path], batch: int, seed: int, step: int
) -> Any:
    """Like `memory_batches`, read from this worker's own shards again each epoch.

    Each epoch takes the shards in another order; within a shard prep's global shuffle stands. A resumed training
    skips whole shards without reading them.
    """
    rows = [shard.rows for shard in shards]
    order = StreamOrder(rows, batch, seed)
    if parser.unpacking is not None and not parser.is_late:
        unpacked = UnpackedShards(lambda shard: parser.blocks([paths[shard]]), rows, paths[0].parent)
        return _ready(parser.unpacked(lambda number: list(order.pieces(number, unpacked)), batch, step))

    def orders() -> Iterator[tuple[list[str], int]]:
        for numbers, left in order.shards(step):
            yield [str(paths[i]) for i in numbers], left

    files = tf.data.Dataset.from_generator(
        orders, output_signature=(tf.TensorSpec((None,), tf.string), tf.TensorSpec((), tf.int64))
    )
    records = files.flat_map(lambda names, left: tf.data.TFRecordDataset(names).skip(left))
    batches = records.batch(batch, drop_remainder=True)
    return _ready(batches.map(parser.padded, num_parallel_calls=parser.parallel, deterministic=True))


def _ready(dataset: Any) -> Any:
    options = tf.data.Options()
    # Each worker's dataset is its own share already: TensorFlow must not divide it once more.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.deterministic = True
    return dataset.prefetch(4).with_options(options)


def padded_batches(parser: Parser, split: dict[str, Any], batch: int, share: Share) -> Iterator[Batch]:
    """Every row of this worker's part of a split, once, in batches: for evaluation."""
    mine = np.arange(share.rank, rows_in(split), share.size)
    for start in range(0, len(mine), batch):
        picked = tf.constant(mine[start : start + batch])
        yield parser.dense({name: tf.gather(value, picked) for name, value in split.items()})
