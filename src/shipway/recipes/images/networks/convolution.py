"""The convolution that all networks here are made of."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tf_keras

GROUPS = 16
EPSILON = 1e-5


def convolve(tensor: Any, filters: int, size: int, *, name: str, normalise: bool, stride: int = 1) -> Any:
    """A convolution that keeps height and width but for its stride, then ReLU.

    Args:
        tensor: Float32 (n, height, width, channels).
        filters: Channels that it gives.
        size: Height and width of a filter.
        name: Of the layer.
        normalise: Normalise groups of channels in between. Batch normalisation would keep means of batches beside the
            weights, of each worker its own.
        stride: In both directions.
    """
    tensor = tf_keras.layers.Conv2D(
        filters, size, strides=stride, padding="same", kernel_initializer="he_normal", name=name
    )(tensor)
    if normalise:
        tensor = NormalisedGroups(math.gcd(GROUPS, filters), name=f"{name}_norm")(tensor)
    return tf_keras.layers.ReLU(name=f"{name}_relu")(tensor)


class NormalisedGroups(tf_keras.layers.Layer):  # type: ignore[misc]
    """Mean 0 and variance 1 within each group of an image's channels, over all places; then a scale and a shift.

    Wu & He 2018, Group Normalization (arXiv:1803.08494). Written for images of one known size, so that an export holds
    no shapes that are worked out at run time, as that of Keras' own layer does.

    Args:
        groups: How many; divides the channels.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", (shape[-1],), initializer="ones")
        self.shift = self.add_weight("shift", (shape[-1],), initializer="zeros")

    def call(self, tensor: Any) -> Any:
        height, width, channels = tensor.shape[1:]
        grouped = tf.reshape(tf.cast(tensor, tf.float32), [-1, height * width, self.groups, channels // self.groups])
        mean = tf.reduce_mean(grouped, axis=[1, 3], keepdims=True)
        centred = grouped - mean
        variance = tf.reduce_mean(tf.square(centred), axis=[1, 3], keepdims=True)
        normal = tf.reshape(centred * tf.math.rsqrt(variance + EPSILON), [-1, height, width, channels])
        return tf.cast(normal, tensor.dtype) * self.scale + self.shift

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
