"""A dataset's records as tensors, and batches that are a pure function of (seed, step, world size).

Two ways in. `memory`: the parsed split is held as ragged tensors, and each step's global batch is a slice of a seeded
permutation over all records; worker w of n takes the w-th part of it, so the global batch holds the same examples for
any n. `stream`: each worker downloads and reads only its share of the shards, again each epoch; its batches depend on
the number of workers, since its share does. Imports TensorFlow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest, FeatureSpec, Shard
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.recipes import Encoder, Ragged
from shipway.recipes.base import DecodesFeatures
from shipway.tasks.base import TARGET_PADDING
from shipway.training.order import Share, local_batches, permutation

PARSE_BATCH = 1024
DTYPES = {"int64": tf.int64, "float32": tf.float32, "uint8": tf.uint8, "bytes": tf.string}
PADDING: dict[str, Any] = {"int64": 0, "float32": 0.0, "bytes": b""}  # of features

UNREADABLE = "a record cannot be decoded"

Batch = tuple[dict[str, Any], dict[str, Any]]  # inputs of a model and targets by name, dense


class Parser:
    """Serialised `tf.train.Example` records to tensors, a batch at a time; equal parsers parse the same.

    Args:
        features: The encoded features to read; what a model does not use is not even parsed.
        targets: What is learned from them, as the task's `Labels.targets` states it.
        decoder: Makes a model's inputs of the features, where they are not the same.

    Attributes:
        inputs: What a batch holds for the model.
    """

    def __init__(
        self,
        features: Mapping[str, FeatureSpec],
        targets: Mapping[str, FeatureSpec],
        decoder: DecodesFeatures | None = None,
    ) -> None:
        self.features, self.targets, self._decoder = dict(features), dict(targets), decoder
        self.inputs = dict(decoder.inputs) if decoder else self.features
        self._padding = {name: PADDING[spec.dtype] for name, spec in features.items()}
        self._padding |= {name: TARGET_PADDING[spec.dtype] for name, spec in targets.items()}
        self._schema: dict[str, Any] = {}
        self._padding_schema: dict[str, Any] = {}  # where it differs
        for name, spec in self.tensors.items():
            if not is_ragged(spec):
                self._schema[name] = tf.io.FixedLenFeature(spec.shape, DTYPES[spec.dtype])
                continue
            partitions = [tf.io.RaggedFeature.UniformRowLength(int(n)) for n in spec.shape[1:] if n is not None]
            self._schema[name] = tf.io.RaggedFeature(
                DTYPES[spec.dtype], partitions=partitions, row_splits_dtype=tf.int64
            )
            self._padding_schema[name] = tf.io.FixedLenSequenceFeature(
                spec.shape[1:], DTYPES[spec.dtype], allow_missing=True, default_value=self._padding[name]
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parser) and (self.features, self.targets) == (other.features, other.targets)

    def __hash__(self) -> int:
        return hash((tuple(self.features), tuple(self.targets)))

    @property
    def tensors(self) -> dict[str, FeatureSpec]:
        """Features and targets."""
        return self.features | self.targets

    def __call__(self, serialised: Any) -> dict[str, Any]:
        """Ragged or dense tensors by name, targets among them."""
        parsed: dict[str, Any] = tf.io.parse_example(serialised, self._schema)
        return parsed

    def dense(self, parsed: Mapping[str, Any]) -> Batch:
        """Features and targets, padded to the batch's longest: what `fit` takes."""
        return self._sides({name: self._padded(name, parsed[name]) for name in self.tensors})

    def padded(self, serialised: Any) -> Batch:
        """The same as `dense` of what was parsed, in one go: for records that are used once."""
        parsed: dict[str, Any] = tf.io.parse_example(serialised, self._schema | self._padding_schema)
        for name in self._padding_schema:
            value = parsed[name]
            missing = tf.maximum(1 - tf.shape(value)[1], 0)  # at least one column, as in `dense`
            around = [[0, 0], [0, missing], *([[0, 0]] * (value.shape.rank - 2))]
            parsed[name] = tf.pad(value, around, constant_values=self._padding[name])
        return self._sides(parsed)

    @property
    def parallel(self) -> int:
        """Batches to make at once: decoding takes longer than a model's step may."""
        return max(len(os.sched_getaffinity(0)), 2) if self._decoder else 2

    def _sides(self, tensors: Mapping[str, Any]) -> Batch:
        features = {name: tensors[name] for name in self.features}
        targets = {name: tensors[name] for name in self.targets}
        return _decoded(self._decoder, features) if self._decoder else features, targets

    def _padded(self, name: str, value: Any) -> Any:
        if name not in self._padding_schema:
            return value
        # A batch of empty texts still needs one column, as `Ragged.to_padded` gives it.
        longest = tf.maximum(tf.reduce_max(value.row_lengths()), 1)
        inner = [tf.constant(size, tf.int64) for size in self.tensors[name].shape[1:]]
        shape = tf.stack([tf.constant(-1, tf.int64), longest, *inner])
        return value.to_tensor(default_value=self._padding[name], shape=shape)

    def read(self, paths: Sequence[Path]) -> Any:
        """Parsed batches of each file in turn: no interleaving, which measured several times slower."""
        names = [str(path) for path in paths]
        batches = tf.data.TFRecordDataset(names).batch(PARSE_BATCH)
        return batches.map(self, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)

    def load(self, paths: Sequence[Path], rows: int) -> dict[str, Any]:
        """A whole split as one tensor for each feature and target.

        Raises:
            CorruptArtifact: the files hold another number of records than the manifest says.
        """
        try:
            parts = list(self.read(paths))
        except tf.errors.DataLossError as error:
            raise CorruptArtifact(f"shards: damaged record ({error.message}); prepare the dataset again") from error
        merged = {name: tf.concat([part[name] for part in parts], axis=0) for name in self.tensors}
        found = rows_in(merged)
        if found != rows:
            raise CorruptArtifact(f"shards hold {found} records, the manifest says {rows}; prepare the dataset again")
        return merged


def parser_of(
    manifest: DatasetManifest, encoder: Encoder, inputs: Sequence[str], targets: Mapping[str, FeatureSpec]
) -> Parser:
    """The parser that gives a model its inputs.

    Args:
        manifest: Of the records.
        encoder: The dataset's.
        inputs: Names of what the model takes.
        targets: As for `Parser`.

    Raises:
        InvalidSpec: an input that neither the records nor the encoder have.
    """
    known = encoder.inputs if isinstance(encoder, DecodesFeatures) else manifest.features
    missing = [name for name in inputs if name not in known]
    if missing:
        raise InvalidSpec(
            f"recipe {manifest.recipe!r}: its model takes {missing[0]!r}, which its encoder does not give; it gives "
            f"{', '.join(known)}"
        )
    if isinstance(encoder, DecodesFeatures):
        return Parser(manifest.features, targets, _Chosen(encoder, inputs))
    return Parser({name: manifest.features[name] for name in inputs}, targets)


class _Chosen:
    """A decoder's inputs, those alone that a model takes."""

    def __init__(self, encoder: DecodesFeatures, names: Sequence[str]) -> None:
        self._encoder = encoder
        self.inputs = {name: encoder.inputs[name] for name in names}

    def decode(self, encoded: Mapping[str, NDArray[Any] | Ragged]) -> dict[str, NDArray[Any]]:
        made = self._encoder.decode(encoded)
        return {name: made[name] for name in self.inputs}


def _decoded(decoder: DecodesFeatures, features: dict[str, Any]) -> dict[str, Any]:
    """A batch's inputs; the decoder runs in Python, and gives up the interpreter where its libraries do."""
    inputs = decoder.inputs
    names = list(features)

    def run(*values: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            made = decoder.decode(dict(zip(names, values, strict=True)))
        except ValueError as error:
            raise ValueError(f"{UNREADABLE}: {error}") from error
        return [np.ascontiguousarray(made[name], DTYPES[spec.dtype].as_numpy_dtype) for name, spec in inputs.items()]

    dtypes = [DTYPES[spec.dtype] for spec in inputs.values()]
    # Eagerly a list of one comes back as the tensor itself.
    tensors = tf.nest.flatten(tf.numpy_function(run, [features[name] for name in names], dtypes))
    for tensor, spec in zip(tensors, inputs.values(), strict=True):
        tensor.set_shape([None, *spec.shape])
    return dict(zip(inputs, tensors, strict=True))


def unreadable(error: Exception) -> str | None:
    """Why a record could not be decoded, where an error of TensorFlow's says so."""
    found = re.search(rf"{UNREADABLE}: [^\n]*", str(error))
    return found[0] if found else None


def is_ragged(spec: FeatureSpec) -> bool:
    """Whether each row has a length of its own."""
    return bool(spec.shape) and spec.shape[0] is None


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
    per_epoch = sum(rows)
    epoch, skip = divmod(step * batch, per_epoch)

    def orders() -> Iterator[tuple[list[str], int]]:
        number, left = epoch, skip
        while True:
            order = permutation(len(shards), seed, number).tolist()
            while left and rows[order[0]] <= left:
                left -= rows[order.pop(0)]
            yield [str(paths[i]) for i in order], left
            number, left = number + 1, 0

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
