"""The convolution that all networks here are made of."""

from __future__ import annotations

import math
from typing import Any

import tf_keras

GROUPS = 8


def convolve(tensor: Any, filters: int, size: int, *, name: str, normalise: bool, stride: int = 1) -> Any:
    """A convolution that keeps height and width but for its stride, then ReLU.

    Args:
        tensor: Float32 (n, height, width, channels).
        filters: Channels that it gives.
        size: Height and width of a filter.
        name: Of the layer.
        normalise: Normalise groups of channels in between (Wu & He 2018, Group Normalization, arXiv:1803.08494).
            Batch normalisation would keep means of batches beside the weights, of each worker its own.
        stride: In both directions.
    """
    tensor = tf_keras.layers.Conv2D(
        filters, size, strides=stride, padding="same", kernel_initializer="he_normal", name=name
    )(tensor)
    if normalise:
        groups = math.gcd(GROUPS, filters)
        tensor = tf_keras.layers.GroupNormalization(groups, epsilon=1e-5, name=f"{name}_norm")(tensor)
    return tf_keras.layers.ReLU(name=f"{name}_relu")(tensor)
