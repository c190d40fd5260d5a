"""Two models for the `scaling` benchmark: much to compute and little to send, and the other way round.

Both read a text as 1,024 numbers, so that one dataset's rows do for all: what is measured is the step.
"""

from __future__ import annotations

from typing import Any

from shipway.recipes import load_recipe

SIDE = 32
WIDTH = SIDE * SIDE


class Recipe:
    """Implements `shipway.recipes.Recipe` over the intents encoder.

    Args:
        name: In messages.
        layers: Of the model, from the 1,024 numbers on.
    """

    task, input = "classification", "text"

    def __init__(self, name: str, layers: Any) -> None:
        intents = load_recipe("intents")
        self.name, self._layers = name, layers
        self.EncoderParams, self.Params = intents.EncoderParams, intents.Params
        self.fit_encoder, self.load_encoder = intents.fit_encoder, intents.load_encoder

    def build_model(self, params: Any, encoder: Any) -> Any:
        import tensorflow as tf
        import tf_keras

        grams = tf_keras.Input((None,), dtype=tf.int64, name="grams")
        counts = tf_keras.layers.Lambda(
            lambda ids: tf.reduce_sum(tf.one_hot(tf.where(ids > 0, ids % WIDTH, -1), WIDTH), axis=1), name="counts"
        )(grams)
        seen = self._layers(tf_keras.layers, counts)
        return tf_keras.Model({"grams": grams}, tf_keras.layers.Dense(len(encoder.labels), name="logits")(seen))

    def compile_model(
        self, model: Any, params: Any, optimizer_wrapper: Any = None, total_steps: int | None = None
    ) -> None:
        import tf_keras

        optimizer = tf_keras.optimizers.Adam(1e-3)
        model.compile(
            optimizer=optimizer_wrapper(optimizer) if optimizer_wrapper else optimizer,
            loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )


def _convolutions(layers: Any, counts: Any) -> Any:
    """0.3 billion multiplications a text, 80,000 weights."""
    seen = layers.Reshape((SIDE, SIDE, 1))(counts)
    for number in range(3):
        seen = layers.Conv2D(48, 5, padding="same", activation="relu", name=f"convolution_{number}")(seen)
    return layers.GlobalAveragePooling2D()(seen)


def _dense(layers: Any, counts: Any) -> Any:
    """10 million weights, each used once a text."""
    seen = counts
    for number in range(3):
        seen = layers.Dense(2048, activation="relu", name=f"dense_{number}")(seen)
    return seen


cnn = Recipe("cnn", _convolutions)
mlp = Recipe("mlp", _dense)
