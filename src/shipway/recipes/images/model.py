"""The image model: pixels scaled, changed at random in training, read by a network, one logit a class or tag.

Imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from shipway.recipes.images.layers import Augment
from shipway.recipes.images.networks import read_image
from shipway.recipes.images.params import Params, check_size
from shipway.tasks.classification.layers import SmoothedCrossentropy, accuracy

MIDDLE = 127.5  # of a pixel's 0 to 255


def build(params: Params, shape: tuple[int, int, int], labels: int) -> Any:
    """The uncompiled model: `image`, uint8 (n, height, width, channels) -> logits (n, labels).

    Raises:
        InvalidSpec: the images are smaller than the network takes.
    """
    check_size(params, min(shape[:2]))
    image = tf_keras.Input(shape, dtype=tf.uint8, name="image")
    changed = Augment(params, name="augment")(tf.cast(image, tf.float32))
    scaled = tf_keras.layers.Rescaling(1.0 / MIDDLE, offset=-1.0, name="scale")(changed)
    logits = tf_keras.layers.Dense(labels, name="logits")(read_image(scaled, params))
    return tf_keras.Model({"image": image}, logits, name="images")


def compile_model(
    model: Any, task: str, params: Params, optimizer_wrapper: Any = None, total_steps: int | None = None
) -> None:
    """Compiles with Adam and the task's loss: cross-entropy of classes, binary cross-entropy of tags."""
    rate: Any = params.learning_rate
    if params.decay == "cosine" and total_steps:
        rate = tf_keras.optimizers.schedules.CosineDecay(params.learning_rate, total_steps)
    elif params.decay == "linear" and total_steps:
        rate = tf_keras.optimizers.schedules.PolynomialDecay(params.learning_rate, total_steps, 0.0)
    optimizer: Any = tf_keras.optimizers.Adam(rate)
    loss, metrics = (
        (tf_keras.losses.BinaryCrossentropy(from_logits=True), [])
        if task == "tagging"
        else (SmoothedCrossentropy(params.label_smoothing), [accuracy])
    )
    model.compile(
        optimizer=optimizer_wrapper(optimizer) if optimizer_wrapper else optimizer, loss=loss, metrics=metrics
    )
