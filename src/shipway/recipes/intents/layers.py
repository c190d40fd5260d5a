"""How alike a text is to those that a model was trained on, by a sentence encoder's vectors. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from shipway.recipes.intents.encode import IntentsEncoder

# Fewer tell intents that the model never saw less well, more take time of each request (docs/decisions/0175).
MAX_ROWS = 2048
NEAREST = 5  # whose mean counts: one alone may be a row of a wrong label


def kept_rows(encoder: IntentsEncoder) -> int:
    """Training rows that a model keeps the vectors of."""
    return min(encoder.rows, MAX_ROWS)


def choose(labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Numbers of up to `most` rows, ascending: as many of each class as there are or as are left for it, and of a
    larger one every so many-th, since rows that follow each other are often written alike.

    Args:
        labels: Class ids, shape (n,).
        most: At most so many.
    """
    chosen: list[NDArray[np.int64]] = []
    rows_of = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for done, rows in enumerate(sorted(rows_of, key=len)):
        share = (most - sum(map(len, chosen))) // (len(rows_of) - done)
        wanted = min(len(rows), share)
        chosen.append(rows[np.arange(wanted) * len(rows) // max(wanted, 1)])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


class NearestRows(tf_keras.layers.Layer):  # type: ignore[misc]
    """Mean cosine of vectors of length 1 to the nearest training rows, float32 (n,); 1 until `take` was called.

    Never trained; in training, where nobody asks for it, it is 1 too. Vectors are held in half precision.

    Args:
        rows: How many.
        width: Of a vector.
    """

    def __init__(self, rows: int, width: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self._rows, self._width = rows, width

    def build(self, _shape: Any) -> None:
        self.vectors = self.add_weight(
            "vectors", (self._width, self._rows), dtype=tf.float16, initializer="zeros", trainable=False
        )
        self.is_open = self.add_weight("is_open", (), initializer="zeros", trainable=False)

    def take(self, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Keeps those of the training rows that `choose` chooses.

        Args:
            vectors: Of length 1, shape (n, width).
            labels: Class ids, shape (n,).
        """
        chosen = vectors[choose(labels, self._rows)].T.astype(np.float16)
        self.set_weights([np.pad(chosen, ((0, 0), (0, self._rows - chosen.shape[1]))), np.float32(1)])

    def call(self, sentence: Any, training: Any = None) -> Any:
        if training:
            return tf.ones_like(sentence[:, 0])
        cosines = tf.matmul(tf.cast(sentence, tf.float32), tf.cast(self.vectors, tf.float32))
        nearest = tf.math.top_k(cosines, min(NEAREST, self._rows), sorted=False).values
        return 1.0 + self.is_open * (tf.reduce_mean(nearest, axis=1) - 1.0)
