"""Inception v1, known as GoogLeNet: Szegedy et al. 2015, Going Deeper with Convolutions (arXiv:1409.4842), table 1.

Left out are the two auxiliary classifiers, which the paper adds in training only and later finds to be worth half a
per cent, and the local response normalisation that its figure 3 shows and its table does not.
"""

from __future__ import annotations

from typing import Any

import tf_keras

from shipway.recipes.images.networks.convolution import convolve
from shipway.recipes.layers import StepDropout

# Table 1, by module: filters of the 1x1 convolution, of the 3x3 one's reduction and its own, of the 5x5 one's reduction
# and its own, and of the projection behind the pooling. None: a 3x3 maximum with stride 2.
TABLE: dict[str, tuple[int, int, int, int, int, int] | None] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": None,
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": None,
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def inception_v1(image: Any, *, normalise: bool, dropout: float) -> Any:
    """The paper's features of images: the mean over places of 1024 channels, (n, 1024).

    Args:
        image: Float32 (n, height, width, channels); the paper's is 224 x 224 x 3.
        normalise: See `convolve`.
        dropout: Of the features; the paper's is 0.4.
    """
    tensor = convolve(image, 64, 7, stride=2, name="conv1", normalise=normalise)
    tensor = _halve(tensor, "pool1")
    tensor = convolve(tensor, 64, 1, name="conv2_reduce", normalise=normalise)
    tensor = convolve(tensor, 192, 3, name="conv2", normalise=normalise)
    tensor = _halve(tensor, "pool2")
    for name, filters in TABLE.items():
        tensor = _halve(tensor, name) if filters is None else _module(tensor, name, filters, normalise)
    features = tf_keras.layers.GlobalAveragePooling2D(name="features")(tensor)
    return StepDropout(dropout, name="drop_features")(features)


def _halve(tensor: Any, name: str) -> Any:
    return tf_keras.layers.MaxPooling2D(3, strides=2, padding="same", name=name)(tensor)


def _module(tensor: Any, name: str, filters: tuple[int, int, int, int, int, int], normalise: bool) -> Any:
    """Figure 2b: four paths side by side, their channels joined."""
    alone, reduce_3, of_3, reduce_5, of_5, projection = filters
    path_1 = convolve(tensor, alone, 1, name=f"{name}_1x1", normalise=normalise)
    path_3 = convolve(tensor, reduce_3, 1, name=f"{name}_3x3_reduce", normalise=normalise)
    path_3 = convolve(path_3, of_3, 3, name=f"{name}_3x3", normalise=normalise)
    path_5 = convolve(tensor, reduce_5, 1, name=f"{name}_5x5_reduce", normalise=normalise)
    path_5 = convolve(path_5, of_5, 5, name=f"{name}_5x5", normalise=normalise)
    pooled = tf_keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(tensor)
    pooled = convolve(pooled, projection, 1, name=f"{name}_pool_projection", normalise=normalise)
    return tf_keras.layers.Concatenate(name=name)([path_1, path_3, path_5, pooled])
