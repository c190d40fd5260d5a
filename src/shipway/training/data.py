"""A dataset's records as tensors, and batches that are a pure function of (seed, step, world size).

Two ways in. `memory`: the split is held as arrays, and each step's global batch is a slice of a seeded permutation
over all records; worker w of n takes the w-th part of it, so the global batch holds the same examples for any n.
`stream`: each worker downloads only its share of the shards, and reads each of them again each epoch, what is unpacked
from a file; its batches depend on the number of workers, since its share does. Imports TensorFlow.
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
from shipway.recipes.arrays import Encoded, concatenate, part, take
from shipway.tasks.base import TARGET_PADDING
from shipway.training.held import Padding, Piece, StreamOrder, UnpackedShards, narrow
from shipway.training.order import Order, Share
from shipway.training.shards import packer_of
from shipway.training.unpacking import DTYPES as DTYPES
from shipway.training.unpacking import Unpacking, as_columns, is_ragged

PARSE_BATCH = 1024
HELD_BYTES = 512 << 20  # of a split's features; where they take more, each batch is unpacked by itself
UNPACKED_TOGETHER = 256  # rows: an encoder is slow with a few, arrays of many are fresh pages each time
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
        if not is_ragged(self.tensors[name]):
            return value
        # A batch of empty texts still needs one column, as `Ragged.to_padded` gives it.
        longest = tf.maximum(tf.reduce_max(value.row_lengths()), 1)
        inner = [tf.constant(size, tf.int64) for size in self.tensors[name].shape[1:]]
        shape = tf.stack([tf.constant(-1, tf.int64), longest, *inner])
        return value.to_tensor(default_value=self._padding[name], shape=shape)

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
            for columns in map(as_columns, self._held(paths)):
                if self.unpacking is None or self.is_late:
                    yield columns
                    continue
                for start in range(0, rows_in(columns), UNPACKED_TOGETHER):
                    some = part(columns, start, min(start + UNPACKED_TOGETHER, rows_in(columns)))
                    yield self.unpacking.encoded(some) | {name: some[name] for name in self.targets}
        except tf.errors.DataLossError as error:
            raise CorruptArtifact(f"shards: damaged record ({error.message}); prepare the dataset again") from error

    def load(self, paths: Sequence[Path], rows: int) -> Encoded:
        """A whole split's columns, as `blocks` gives them, whole numbers in the least room.

        Raises:
            CorruptArtifact: the files hold another number of records than the manifest says.
        """
        columns = concatenate(map(narrow, self.blocks(paths)))
        found = rows_in(columns)
        if found != rows:
            raise CorruptArtifact(f"shards hold {found} records, the manifest says {rows}; prepare the dataset again")
        return columns

    def rows(self, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        """Rows of columns one behind the other, in the order of `tensors`, padded as `dense` does."""
        if not self.is_late:
            return self._rows(pieces)
        assert self.unpacking is not None
        some = concatenate(take(columns, picked) for columns, picked in pieces)
        made = self.unpacking.encoded(some) | {name: some[name] for name in self.targets}
        return self._rows([(made, np.arange(rows_in(made)))])

    def sides(self, arrays: Sequence[Any]) -> Batch:
        """What `rows` gave, as features and targets."""
        return self._sides(dict(zip(self.tensors, arrays, strict=True)))

    def batches(self, pieces: Callable[[int], Sequence[Piece]], batch: int, step: int) -> Any:
        """A tf.data.Dataset of (features, targets), without end.

        Args:
            pieces: The rows of a step's batch; called from several threads at once.
            batch: How many they are.
            step: The first one.
        """
        types = [DTYPES[spec.dtype] for spec in self.tensors.values()]

        def made(number: Any) -> Batch:
            arrays = tf.numpy_function(lambda step: self.rows(pieces(int(step))), [number], types, stateful=False)
            for array, spec in zip(arrays, self.tensors.values(), strict=True):
                array.set_shape([batch, *spec.shape])
            return self.sides(arrays)

        steps = tf.data.Dataset.counter(step)
        return _ready(steps.map(made, num_parallel_calls=self.parallel, deterministic=True))


def rows_in(columns: Mapping[str, Any]) -> int:
    """Rows of columns, or of parsed tensors."""
    value = next(iter(columns.values()))
    return int(value.nrows()) if isinstance(value, tf.RaggedTensor) else len(value)


def memory_batches(parser: Parser, split: Encoded, rows: int, batch: int, seed: int, step: int, share: Share) -> Any:
    """A tf.data.Dataset of (features, targets): this worker's part of each global batch from `step` on, without end."""
    order = Order(rows, seed)
    return parser.batches(lambda number: [(split, order.local_batch(batch, number, share))], batch // share.size, step)


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

        def pieces(number: int) -> list[Piece]:
            return [(unpacked(shard, coming), np.arange(begin, end)) for shard, begin, end, coming in order(number)]

        return parser.batches(pieces, batch, step)

    def orders() -> Iterator[tuple[list[str], int]]:
        for names, left in order.shards(step):
            yield [str(paths[i]) for i in names], left

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


def padded_batches(parser: Parser, split: Encoded, batch: int, share: Share) -> Iterator[Batch]:
    """Every row of this worker's part of a split, once, in batches: for evaluation."""
    mine = np.arange(share.rank, rows_in(split), share.size)
    for start in range(0, len(mine), batch):
        yield parser.sides(list(map(tf.constant, parser.rows([(split, mine[start : start + batch])]))))
