"""VGG19: Simonyan & Zisserman 2015, Very Deep Convolutional Networks (arXiv:1409.1556), table 1, configuration E."""

from __future__ import annotations

from typing import Any

import tf_keras

from shipway.recipes.images.networks.convolution import convolve
from shipway.recipes.layers import StepDropout

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # filters and convolutions, each 3x3; then a 2x2 maximum
UNITS = 4096


def vgg19(image: Any, *, normalise: bool, dropout: float, fully_connected: bool) -> Any:
    """Features of images: of the paper's two fully connected layers, (n, 4096), or the mean over places, (n, 512).

    Args:
        image: Float32 (n, height, width, channels); the paper's is 224 x 224 x 3.
        normalise: See `convolve`.
        dropout: Behind each fully connected layer (the paper's is 0.5), or of the mean.
        fully_connected: As the paper has it: its first such layer holds 102,764,544 weights at 224 x 224 pixels.
    """
    tensor = image
    for block, (filters, layers) in enumerate(BLOCKS, start=1):
        for layer in range(1, layers + 1):
            tensor = convolve(tensor, filters, 3, name=f"conv{block}_{layer}", normalise=normalise)
        tensor = tf_keras.layers.MaxPooling2D(2, name=f"pool{block}")(tensor)
    if not fully_connected:
        features = tf_keras.layers.GlobalAveragePooling2D(name="features")(tensor)
        return StepDropout(dropout, name="drop_features")(features)
    tensor = tf_keras.layers.Flatten(name="flat")(tensor)
    for number in (6, 7):
        tensor = tf_keras.layers.Dense(UNITS, activation="relu", kernel_initializer="he_normal", name=f"fc{number}")(
            tensor
        )
        tensor = StepDropout(dropout, name=f"drop{number}")(tensor)
    return tensor
