"""Layers and the optimizer that recipes share. Imports TensorFlow: for workers only.

Random numbers here are a pure function of (seed, step, replica, layer): a training that resumes from a checkpoint
draws what the undisturbed one would have drawn, without any generator state to save.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import tensorflow as tf
import tf_keras

_part: ContextVar[int] = ContextVar("number of the part of a batch that is traced", default=0)


@contextmanager
def drawing_for(part: int) -> Iterator[None]:
    """Within it `StepRandom` draws as the replica of that number does: for a graph that holds the work of several."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def traced_part() -> int:
    """The part of `drawing_for`; 0 outside of it."""
    return _part.get()


class StepRandom(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer whose random numbers are a function of (seed, step, replica, layer).

    `bind` tells it the step; without it every call of a training draws as in step 0.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._seed = (0, 0)
        self._step: Any = lambda: tf.constant(0)

    def bind(self, step: Any, seed: int, index: int, replica: int) -> None:
        """Names the step variable and what makes this layer's draws its own."""
        # Behind a function: a variable as attribute would become one of this layer's own weights.
        self._step, self._seed = lambda: step, (seed * 1009 + index, replica)

    def uniform(self, shape: Any) -> Any:
        """Numbers in [0, 1), float32; the same at each call within one step."""
        context = tf.distribute.get_replica_context()
        replica = (
            self._seed[1] + traced_part() + (tf.cast(context.replica_id_in_sync_group, tf.int32) if context else 0)
        )
        step = tf.cast(self._step(), tf.int32)
        seed = tf.stack([tf.constant(self._seed[0], tf.int32), step * 65536 + replica])
        return tf.random.stateless_uniform(shape, seed, dtype=tf.float32, alg="philox")


class StepDropout(StepRandom):
    """Dropout whose mask is a function of (seed, step, replica, layer).

    Args:
        rate: Share of values set to 0; the others are scaled by 1 / (1 - rate).
        broadcast_last: Drop whole vectors: one decision for the last dimension.
    """

    def __init__(self, rate: float, *, broadcast_last: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.broadcast_last = broadcast_last

    def call(self, inputs: Any, training: Any = None) -> Any:
        if not training or self.rate == 0.0:
            return inputs
        shape = tf.shape(inputs)
        if self.broadcast_last:
            shape = tf.concat([shape[:-1], [1]], 0)
        kept = self.uniform(shape) >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) / (1.0 - self.rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "broadcast_last": self.broadcast_last}


def bind_steps(model: Any, seed: int, replica: int) -> None:
    """Binds every `StepRandom` of a compiled model to its optimizer's step counter."""
    layers = [layer for layer in model.submodules if isinstance(layer, StepRandom)]
    for index, layer in enumerate(sorted(layers, key=lambda layer: layer.name)):
        layer.bind(model.optimizer.iterations, seed, index, replica)


class SparseAdam(tf_keras.optimizers.Adam):  # type: ignore[misc]
    """Adam that, for an embedding, moves only the rows that a batch used.

    Rows that were not used keep their moments too (known as lazy Adam): a step costs what the batch touches, not what
    the table holds, and rare rows are not dragged along by stale momentum.
    """

    def update_step(self, gradient: Any, variable: Any) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        rate = tf.cast(self.learning_rate, variable.dtype)
        step = tf.cast(self.iterations + 1, variable.dtype)
        index = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[index], self._velocities[index]
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        rows, slot = tf.unique(gradient.indices)
        values = tf.math.unsorted_segment_sum(gradient.values, slot, tf.size(rows))
        first = beta_1 * tf.gather(momentum, rows) + (1 - beta_1) * values
        second = beta_2 * tf.gather(velocity, rows) + (1 - beta_2) * tf.square(values)
        momentum.scatter_update(tf.IndexedSlices(first, rows))
        velocity.scatter_update(tf.IndexedSlices(second, rows))
        scaled = rate * tf.sqrt(1 - tf.pow(beta_2, step)) / (1 - tf.pow(beta_1, step))
        variable.scatter_sub(tf.IndexedSlices(scaled * first / (tf.sqrt(second) + self.epsilon), rows))


class CompactEmbedding(tf_keras.layers.Layer):  # type: ignore[misc]
    """Embedding whose gradient names each used row once, however often the batch holds it.

    In training the batch's distinct ids are gathered first: workers then exchange a few thousand rows instead of one
    for every n-gram of the batch.
    """

    def __init__(self, ids: int, dim: int, *, initial: Any = None, scale: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ids, self.dim, self.initial, self.scale = ids, dim, initial, scale

    def build(self, _shape: Any) -> None:
        initializer: Any = tf_keras.initializers.RandomUniform(-self.scale, self.scale)
        if self.initial is not None:
            initializer = tf_keras.initializers.Constant(self.initial)
        self.table = self.add_weight("table", (self.ids, self.dim), initializer=initializer)

    def call(self, inputs: Any, training: Any = None) -> Any:
        if not training:
            return tf.gather(self.table, inputs)
        distinct, slot = tf.unique(tf.reshape(inputs, [-1]))
        gathered = tf.gather(tf.gather(self.table, distinct), slot)
        return tf.reshape(gathered, tf.concat([tf.shape(inputs), [self.dim]], 0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ids": self.ids, "dim": self.dim, "scale": self.scale}


def recurrent(cell: Literal["lstm", "gru"], units: int) -> Any:
    """A recurrent layer that gives each step's state: Keras' fused one where there is a GPU, else its cell.

    Both have the same weights and numbers. The fused layer is traced for cuDNN too, which takes three quarters of a
    short training.
    """
    is_lstm, layers = cell == "lstm", tf_keras.layers
    if tf.config.list_physical_devices("GPU"):
        return (layers.LSTM if is_lstm else layers.GRU)(units, return_sequences=True)
    return layers.RNN((layers.LSTMCell if is_lstm else layers.GRUCell)(units), return_sequences=True)


def adam(rate: float, decay: str, total_steps: int | None, wrapper: Any) -> Any:
    """`SparseAdam` whose rate stays, or goes down to 0 over `total_steps` where they are known.

    Args:
        rate: At the begin.
        decay: `constant`, `cosine` or `linear`.
        total_steps: Of the training.
        wrapper: Horovod's, or None.
    """
    schedule: Any = rate
    if decay == "cosine" and total_steps:
        schedule = tf_keras.optimizers.schedules.CosineDecay(rate, total_steps)
    elif decay == "linear" and total_steps:
        schedule = tf_keras.optimizers.schedules.PolynomialDecay(rate, total_steps, 0.0)
    optimizer = SparseAdam(schedule)
    return optimizer if wrapper is None else wrapper(optimizer)
