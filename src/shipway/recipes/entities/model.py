"""The entities model: words and their characters, read in order, to tags. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from shipway.recipes.entities.encode import EntitiesEncoder
from shipway.recipes.entities.layers import BothWays, Crf, CrfLoss, Spelling
from shipway.recipes.entities.params import Params
from shipway.recipes.layers import CompactEmbedding, StepDropout, adam
from shipway.tasks.spans.tags import tag_count

LAYERS = 3  # of the CNN: it sees so many words on each side


def build(params: Params, encoder: EntitiesEncoder) -> Any:
    """The uncompiled model: `words` and `characters`, int64 (n, length), to a dict of `logits`, float32 (n, words,
    tags), and `tags`, int64 (n, words). What it says of a text does not depend on the batch's padding."""
    words = tf_keras.Input((None,), dtype=tf.int64, name="words")
    characters = tf_keras.Input((None,), dtype=tf.int64, name="characters")
    is_token = tf_keras.layers.Lambda(lambda ids: ids > 0, name="is_token")(words)
    mask = tf_keras.layers.Lambda(lambda ids: tf.cast(ids > 0, tf.float32)[..., None], name="mask")(words)
    embedded = CompactEmbedding(encoder.word_ids, params.word_dim, name="word_table")(words)
    embedded = StepDropout(params.word_dropout, broadcast_last=True, name="hide_words")(embedded)
    spelled = Spelling(
        encoder.character_ids, params.char_dim, params.char_filters, encoder.params.word_chars, name="spelling"
    )(characters, words)
    joined = tf_keras.layers.Concatenate(name="joined")([embedded, spelled])
    joined = tf_keras.layers.Multiply(name="words_alone")([joined, mask])
    joined = StepDropout(params.dropout, name="drop_joined")(joined)
    read = StepDropout(params.dropout, name="drop_read")(_reader(params, joined, mask, is_token))
    tags = tag_count(encoder.labels)
    scores = tf_keras.layers.Dense(tags, dtype="float32", name="scores")(read)
    if params.crf:
        answer = Crf(tags, name="crf")(scores, is_token)
    else:
        answer = {"logits": scores, "tags": tf_keras.layers.Lambda(lambda s: tf.argmax(s, -1), name="tags")(scores)}
    return tf_keras.Model({"characters": characters, "words": words}, answer, name="entities")


def _reader(params: Params, joined: Any, mask: Any, is_token: Any) -> Any:
    """Each word in the light of those around it, (n, words, width)."""
    if params.architecture == "lstm":
        return BothWays(params.units, name="read")(joined, is_token)
    read = joined
    for number in range(LAYERS):
        layer = tf_keras.layers.Conv1D(2 * params.units, 3, padding="same", activation="relu", name=f"read_{number}")
        states = tf_keras.layers.Multiply(name=f"words_alone_{number}")([layer(read), mask])
        read = states if number == 0 else tf_keras.layers.Add(name=f"joined_{number}")([read, states])
    return read


def compile_model(model: Any, params: Params, optimizer_wrapper: Any, total_steps: int | None) -> None:
    """Compiles with the likelihood of the true tags and `SparseAdam`."""
    loss: Any = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    if params.crf:
        loss = CrfLoss(model.get_layer("crf"))
    optimizer = adam(params.learning_rate, params.decay, total_steps, optimizer_wrapper)
    model.compile(optimizer=optimizer, loss={"logits": loss})
