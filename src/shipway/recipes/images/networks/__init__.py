"""Convolutional networks, built from the tables of the papers that they come from. Imports TensorFlow.

Each is a function of an image tensor, float32 (n, height, width, channels), that gives its features: (n, k) behind the
mean over places, or behind fully connected layers.
"""

from __future__ import annotations

from typing import Any

from shipway.recipes.images.networks.inception_v1 import inception_v1
from shipway.recipes.images.networks.small import small
from shipway.recipes.images.networks.vgg19 import vgg19
from shipway.recipes.images.params import Params

__all__ = ["inception_v1", "read_image", "small", "vgg19"]


def read_image(image: Any, params: Params) -> Any:
    """What the chosen network makes of images, dropout included: (n, k)."""
    if params.network == "inception_v1":
        return inception_v1(image, normalise=params.normalise, dropout=params.dropout)
    if params.network == "vgg19":
        return vgg19(image, normalise=params.normalise, dropout=params.dropout, fully_connected=params.fully_connected)
    return small(image, width=params.width, normalise=params.normalise, dropout=params.dropout)
