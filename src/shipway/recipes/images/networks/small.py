"""A small network for small or few images: blocks of two convolutions, each half as large and twice as wide."""

from __future__ import annotations

from typing import Any

import tf_keras

from shipway.recipes.images.networks.convolution import convolve
from shipway.recipes.layers import StepDropout

LEAST = 4  # height and width at which no further block follows
MAX_BLOCKS = 4


def small(image: Any, *, width: int, normalise: bool, dropout: float) -> Any:
    """Features of images: the largest value of each channel over places, beside its mean; (n, 2 * channels).

    Args:
        image: Float32 (n, height, width, channels).
        width: Filters of the first block.
        normalise: See `convolve`.
        dropout: Of the features.
    """
    tensor = image
    for block in range(1, MAX_BLOCKS + 1):
        for layer in (1, 2):
            tensor = convolve(tensor, width, 3, name=f"conv{block}_{layer}", normalise=normalise)
        if block == MAX_BLOCKS or min(tensor.shape[1:3]) < 2 * LEAST:
            break
        tensor = tf_keras.layers.MaxPooling2D(2, name=f"pool{block}")(tensor)
        width *= 2
    largest = tf_keras.layers.GlobalMaxPooling2D(name="largest")(tensor)
    mean = tf_keras.layers.GlobalAveragePooling2D(name="mean")(tensor)
    features = tf_keras.layers.Concatenate(name="features")([largest, mean])
    return StepDropout(dropout, name="drop_features")(features)
