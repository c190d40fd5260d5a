"""The entities model: words and their characters, read in order, to tags. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from shipway.recipes.entities.crf import Crf, CrfLoss, turned
from shipway.recipes.entities.encode import EntitiesEncoder
from shipway.recipes.entities.params import Params
from shipway.recipes.layers import CompactEmbedding, StepDropout, adam, recurrent
from shipway.tasks.spans.tags import tag_count

LAYERS = 3  # of the CNN: it sees so many words on each side


class Spelling(tf_keras.layers.Layer):  # type: ignore[misc]
    """What a word's characters say of it: the maximum of filters over each three of them.

    Args:
        ids: How many characters there are.
        dim: Width of a character's embedding.
        filters: Of the result, float32 (n, words, filters).
        word_chars: Characters a word.
    """

    def __init__(self, ids: int, dim: int, filters: int, word_chars: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._dim, self._word_chars, self._filters = dim, word_chars, filters
        self.embedding = CompactEmbedding(ids, dim, name="characters")
        self.convolution = tf_keras.layers.Conv1D(filters, 3, padding="same", activation="relu", name="runs")

    def call(self, characters: Any, words: Any, training: Any = None) -> Any:
        shape = tf.shape(words)
        # A batch of empty texts has one column of padding of each, which is no whole word.
        whole = tf.pad(characters, [[0, 0], [0, self._word_chars]])[:, : shape[1] * self._word_chars]
        rows = tf.reshape(whole, [-1, self._word_chars])
        known = tf.cast(rows > 0, self.compute_dtype)[..., None]
        embedded = tf.cast(self.embedding(rows, training=training), self.compute_dtype) * known
        # Filters are at least 0, so that what stands behind a word adds nothing.
        found = tf.reduce_max(self.convolution(embedded) * known, 1)
        return tf.reshape(found, [shape[0], shape[1], self._filters])


class BothWays(tf_keras.layers.Layer):  # type: ignore[misc]
    """A BiLSTM: its states from the front and from behind, float32 (n, words, 2 * units)."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_front, self.from_behind = recurrent("lstm", units), recurrent("lstm", units)

    def call(self, words: Any, is_token: Any) -> Any:
        behind = turned(self.from_behind(turned(words), mask=turned(is_token)))
        return tf.concat([self.from_front(words, mask=is_token), behind], -1)


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
    joined = tf_keras.layers.Concatenate(name="joined")([embedded, spelled]) * mask
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
        found = layer(read) * mask
        read = found if number == 0 else read + found
    return read


def compile_model(model: Any, params: Params, optimizer_wrapper: Any, total_steps: int | None) -> None:
    """Compiles with the likelihood of the true tags and `SparseAdam`."""
    loss: Any = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    if params.crf:
        loss = CrfLoss(model.get_layer("crf"))
    optimizer = adam(params.learning_rate, params.decay, total_steps, optimizer_wrapper)
    model.compile(optimizer=optimizer, loss={"logits": loss})
