"""What a training measures, as its task says: numbers of each batch, sums over the eval split. Imports TensorFlow."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shipway.tasks.base import TrainingHead
from shipway.training import data as td
from shipway.training.distribution import Distribution
from shipway.training.order import Share
from shipway.training.unpacking import DTYPES

EVALUATION_BATCH = 256
WAITED = "waited_for_input_s"


def input_names(model: Any) -> list[str]:
    """The tensors that a model takes."""
    return sorted(getattr(model, "input_names", None) or model.input.keys())


def make_step(model: Any, head: TrainingHead, dist: Distribution, audit: bool) -> None:
    """Gives the model a train step that returns this batch's own numbers, not running means.

    Keras' metrics would be reduced over all workers at every step; ours are added up once an interval.
    """
    local, names = dist.local_replicas, head.batch_metrics
    scale = float(dist.replicas) if isinstance(getattr(dist, "strategy", None), tf.distribute.Strategy) else 1.0

    def measured(batch: td.Batch) -> tuple[Any, Any]:
        features, targets = batch
        outputs = model(features, training=True)
        loss = model.compute_loss(features, _alone(targets), outputs)
        of_batch = head.batch(outputs, targets)
        # A strategy divides the loss by the number of replicas, so that their gradients add up to the mean's.
        numbers = [tf.cast(loss, tf.float32) * scale, *(tf.cast(of_batch[name], tf.float32) for name in names)]
        return loss, tf.stack(numbers) / local

    def train_step(_self: Any, batch: td.Batch) -> dict[str, Any]:
        waited = None if model.jit_compile else _waited(batch)
        numbers = tf.unstack(dist.step(model, batch, measured), 1 + len(names))
        logs = dict(zip(("loss", *names), numbers, strict=True))
        if waited is not None:
            logs[WAITED] = waited / local
        if audit:
            parts = [tf.io.serialize_tensor(side[name]) for side in batch for name in sorted(side)]
            logs["batch_hash"] = tf.strings.to_hash_bucket_fast(tf.strings.join(parts), 1 << 62)
        return logs

    model.train_step = types.MethodType(train_step, model)
    model.distribute_reduction_method = "sum" if dist.size == 1 else "first"


def _waited(batch: td.Batch) -> Any:
    """Seconds from a step's beginning until its batch was there: how long it waited for its input.

    A step is one graph, in which the iterator is asked for the batch. The first clock has no inputs, so that it is
    read as the graph starts; the second one is read when the batch's tensors are there.
    """
    with tf.device("CPU:0"):
        began = tf.timestamp()
        with tf.control_dependencies(tf.nest.flatten(batch)):
            return tf.timestamp() - began


def _alone(targets: Mapping[str, Any]) -> Any:
    """The target itself where there is one, as Keras' losses expect."""
    return next(iter(targets.values())) if len(targets) == 1 else targets


class Evaluation:
    """The eval split, each worker scoring its part of it.

    Attributes:
        head: The task's.
    """

    def __init__(
        self, model: Any, head: TrainingHead, parser: td.Parser, split: dict[str, Any], dist: Distribution
    ) -> None:
        self.head = head
        self._parser, self._split, self._dist = parser, split, dist
        signature = [
            {name: tf.TensorSpec([None, *spec.shape], DTYPES[spec.dtype]) for name, spec in side.items()}
            for side in (parser.features, parser.targets)
        ]

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def score(features: Any, targets: Any) -> Any:
            return head.sums(model(features, training=False), targets)

        self._score = score

    def sums(self) -> NDArray[np.float64]:
        """Of this worker's part."""
        with self._dist.scoring():
            parts = self._parts(self._dist.share)
            if not parts:  # there are more workers than rows
                return np.zeros_like(self._parts(Share(0, td.rows_in(self._split)))[0])
        return sum(parts[1:], start=parts[0])

    def metrics(self, sums: NDArray[np.float64]) -> dict[str, float]:
        """`val_<name>` of the whole split's sums."""
        return {f"val_{name}": float(value) for name, value in self.head.totals(sums).items()}

    def _parts(self, share: Share) -> list[NDArray[np.float64]]:
        batches = td.padded_batches(self._parser, self._split, EVALUATION_BATCH, share)
        return [np.asarray(self._score(*batch), dtype=np.float64) for batch in batches]
