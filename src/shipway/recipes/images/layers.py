"""Images changed at random in training, each time otherwise: a layer of the model's own graph. Imports TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from shipway.recipes.images.params import Params
from shipway.recipes.layers import StepRandom

BRIGHTEST = 255.0
DRAWS = 7  # random numbers that an image takes


class Augment(StepRandom):
    """Mirrors, moves, crops, turns and lightens images in training; gives them as they are elsewhere.

    One projective transform does all but the light, so that pixels are interpolated once. What comes in at an edge
    repeats the edge mirrored: a bar of black would tell the network that an image was moved.

    Args:
        params: `flip`, `shift`, `crop`, `rotate`, `brightness`.
    """

    def __init__(self, params: Params, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)  # pixels of 0 to 255 have too many digits for bfloat16
        self._params = params

    def call(self, images: Any, training: Any = None) -> Any:
        """Pixels from 0 to 255, float32 (n, height, width, channels)."""
        params = self._params
        if not training:
            return images
        draws = tf.unstack(self.uniform([tf.shape(images)[0], DRAWS]), axis=1)
        if params.flip != "none" or params.shift or params.crop or params.rotate:
            shape = images.shape
            images = tf.raw_ops.ImageProjectiveTransformV3(
                images=images,
                transforms=self._transforms(draws[:6], float(images.shape[1]), float(images.shape[2])),
                output_shape=tf.shape(images)[1:3],
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode="REFLECT",
            )
            images.set_shape(shape)  # which the operation does not know
        if params.brightness:
            factor = 1.0 + params.brightness * _either_way(draws[6])
            images = tf.minimum(images * factor[:, None, None, None], BRIGHTEST)
        return images

    def _transforms(self, draws: list[Any], height: float, width: float) -> Any:
        """From a place of the result to the image's that it shows, (n, 8) as the operation takes it."""
        params = self._params
        scale = 1.0 - params.crop * draws[0]  # of a side that is shown
        angle = params.rotate * math.pi / 180.0 * _either_way(draws[1])
        mirrored_x = tf.where(draws[2] < 0.5, -1.0, 1.0) if params.flip != "none" else tf.ones_like(scale)
        mirrored_y = tf.where(draws[3] < 0.5, -1.0, 1.0) if params.flip == "both" else tf.ones_like(scale)
        # Within the image what is cut off leaves room to move; a shift goes beyond its edge. Whole pixels: half of one
        # would blur in training what is sharp when the model is asked.
        away_x, away_y = (
            tf.round((params.shift + (1.0 - scale) / 2.0) * _either_way(draw) * side)
            for draw, side in ((draws[4], width), (draws[5], height))
        )
        a0, a1 = scale * tf.cos(angle) * mirrored_x, -scale * tf.sin(angle) * mirrored_y
        b0, b1 = scale * tf.sin(angle) * mirrored_x, scale * tf.cos(angle) * mirrored_y
        center_x, center_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
        a2 = center_x - a0 * center_x - a1 * center_y + away_x
        b2 = center_y - b0 * center_x - b1 * center_y + away_y
        nothing = tf.zeros_like(scale)
        return tf.stack([a0, a1, a2, b0, b1, b2, nothing, nothing], axis=1)


def _either_way(draw: Any) -> Any:
    """From [0, 1) to [-1, 1)."""
    return 2.0 * draw - 1.0
