"""Loss and metric of classifiers, those of several members too. Imports TensorFlow: for workers only."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class SmoothedCrossentropy(tf_keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of integer labels with logits, the target spread by `smoothing` over all classes."""

    def __init__(self, smoothing: float = 0.0, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each example, shape (batch,); of (batch, members, classes) the mean over members."""
        log_probabilities = tf.nn.log_softmax(y_pred)
        if y_pred.shape.rank == 3:
            log_probabilities = tf.reduce_mean(log_probabilities, axis=1)
        target = tf.gather(log_probabilities, tf.cast(tf.reshape(y_true, [-1]), tf.int32), batch_dims=1)
        spread = tf.reduce_mean(log_probabilities, axis=-1)
        return -(1.0 - self.smoothing) * target - self.smoothing * spread

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Hits, shape (batch,), as a Keras metric; of (batch, members, classes) those of the members' mean."""
    if y_pred.shape.rank == 3:
        y_pred = tf.reduce_mean(y_pred, axis=1)
    labels = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
    return tf.cast(tf.equal(tf.argmax(y_pred, axis=-1), labels), tf.float32)
