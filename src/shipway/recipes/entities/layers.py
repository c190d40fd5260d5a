"""Layers of the entities model: how words are spelt, what stands around them, and a linear-chain conditional random
field over the tags of `shipway.tasks.spans.tags`. Imports TensorFlow.

Of the field: Lafferty, McCallum, Pereira, "Conditional random fields" (2001). What all paths through one place of the
chain add up to (their logarithm of a sum, or their maximum) is what comes to it from the front and from behind; the
same recursion goes both ways, and one operation is exchanged for the other. So the tag of the best path at a place is
the one with the largest maximum, and its probability is its share of the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from shipway.recipes.layers import CompactEmbedding, recurrent

NEVER = -1e4  # score of what cannot be; finite, since infinities of two signs would make NaN


def turned(rows: Any) -> Any:
    """(n, length, ...) from the last place to the first.

    Not by tf.reverse: its ONNX has a tensor of a size that nobody can tell, which the predictor would refuse.
    """
    return tf.gather(rows, tf.cumsum(tf.ones(tf.shape(rows)[1:2], tf.int64), exclusive=True, reverse=True), axis=1)


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
        strongest = tf.reduce_max(self.convolution(embedded) * known, 1)
        return tf.reshape(strongest, [shape[0], shape[1], self._filters])


class BothWays(tf_keras.layers.Layer):  # type: ignore[misc]
    """A BiLSTM: its states from the front and from behind, float32 (n, words, 2 * units)."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_front, self.from_behind = recurrent("lstm", units), recurrent("lstm", units)

    def call(self, words: Any, is_token: Any) -> Any:
        behind = turned(self.from_behind(turned(words), mask=turned(is_token)))
        return tf.concat([self.from_front(words, mask=is_token), behind], -1)


def forbidden(tags: int) -> NDArray[np.float32]:
    """Scores of steps from tag (row) to tag (column), shape (tags + 1, tags + 1): 0, or `NEVER`.

    The last tag stands for the text's two ends. Only B or I of a type may stand before its I.
    """
    scores = np.zeros((tags + 1, tags + 1), dtype=np.float32)
    scores[tags, tags] = NEVER
    for inside in range(2, tags, 2):
        scores[:, inside] = NEVER
        scores[inside - 1 : inside + 1, inside] = 0
    return scores


class Crf(tf_keras.layers.Layer):  # type: ignore[misc]
    """A dict of `logits`, float32 (n, length, tags), and `tags`, int64 (n, length): the best path.

    Softmax of the logits gives each tag's probability over all paths. In training, both are what came in: `CrfLoss`
    looks at whole paths itself.

    Args:
        tags: How many there are.
    """

    def __init__(self, tags: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)  # whatever the policy: sums along a text lose in half precision
        self._tags = tags

    def build(self, _shape: Any) -> None:
        self.steps = self.add_weight("steps", (self._tags + 1, self._tags + 1), initializer="zeros")

    def call(self, scores: Any, is_token: Any, training: Any = None) -> Any:
        if training:
            return {"logits": scores, "tags": tf.argmax(scores, -1)}
        best = tf.argmax(self._through(scores, is_token, _best), -1)
        return {"logits": self._through(scores, is_token, _added), "tags": best}

    def scores_of_steps(self) -> Any:
        """From each tag to each, shape (tags + 1, tags + 1)."""
        return self.steps + tf.constant(forbidden(self._tags))

    def _through(self, scores: Any, is_token: Any, operation: Any) -> Any:
        """What `operation` makes of the paths through each tag at each place, (n, length, tags)."""
        steps = self.scores_of_steps()
        from_front = _paths(scores, is_token, operation(steps), backwards=False)[1]
        from_behind = _paths(scores, is_token, operation(tf.transpose(steps)), backwards=True)[1]
        return (from_front + from_behind)[..., : self._tags] - scores

    def log_of_all(self, scores: Any, is_token: Any) -> Any:
        """The logarithm of the sum over all paths, shape (n,)."""
        steps = self.scores_of_steps()
        last, _ = _paths(scores, is_token, _added(steps), backwards=False)
        return tf.reduce_logsumexp(last + steps[None, :, self._tags], -1)


def _added(steps: Any) -> Any:
    """From paths that end in each tag (n, tags + 1) the logarithm of their sum after one step, the same shape.

    As a product of matrices: with a term for each two tags, a training would take ten times as long.
    """
    factors = tf.exp(steps)

    def step(paths: Any) -> Any:
        largest = tf.stop_gradient(tf.reduce_max(paths, -1, keepdims=True))
        return tf.math.log(tf.matmul(tf.exp(paths - largest), factors) + 1e-30) + largest

    return step


def _best(steps: Any) -> Any:
    """The same for the best of them."""
    return lambda paths: tf.reduce_max(paths[:, :, None] + steps, 1)


def _paths(scores: Any, is_token: Any, step: Any, *, backwards: bool) -> tuple[Any, Any]:
    """What comes to each tag at the end, (n, tags + 1), and at each place, (n, length, tags + 1); backwards from the
    last place to the first."""
    padded = tf.concat([scores, tf.zeros_like(scores[..., :1]) + NEVER], -1)  # no end within the text

    def advance(score: Any, states: Any) -> Any:
        state = step(states[0]) + score
        return state, [state]

    at_an_end = tf.concat([tf.zeros_like(scores[:, 0]) + NEVER, tf.zeros_like(scores[:, 0, :1])], -1)
    if backwards:
        padded, is_token = turned(padded), turned(is_token)
    last, everywhere, _ = tf_keras.backend.rnn(advance, padded, [at_an_end], mask=is_token)
    return last, turned(everywhere) if backwards else everywhere


class CrfLoss(tf_keras.losses.Loss):  # type: ignore[misc]
    """Minus the logarithm of the true path's probability, of each text.

    Args:
        layer: The model's `Crf`.
    """

    def __init__(self, layer: Crf, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._layer = layer

    def call(self, truth: Any, scores: Any) -> Any:
        """Of tags (n, length), -1 behind each text, and scores (n, length, tags)."""
        scores, truth = tf.cast(scores, tf.float32), tf.cast(truth, tf.int64)
        is_token, outside = truth >= 0, tf.cast(tf.shape(scores)[2], tf.int64)
        at_tokens = tf.gather(scores, tf.maximum(truth, 0), batch_dims=2)
        tags = tf.where(is_token, truth, outside)
        edge = tf.fill([tf.shape(tags)[0], 1], outside)
        before, behind = tf.concat([edge, tags], 1), tf.concat([tags, edge], 1)
        flat = tf.reshape(self._layer.scores_of_steps(), [-1])
        steps = tf.gather(flat, before * (outside + 1) + behind)
        steps = tf.where((before < outside) | (behind < outside), steps, 0.0)
        true = tf.reduce_sum(tf.where(is_token, at_tokens, 0.0), 1) + tf.reduce_sum(steps, 1)
        lost = self._layer.log_of_all(scores, is_token) - true
        return tf.where(tf.reduce_any(is_token, 1), lost, 0.0)
