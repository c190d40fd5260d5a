"""The intents model: a wide bag of n-grams, and beside it a part that reads words. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from shipway.recipes.base import Finished
from shipway.recipes.intents.embeddings import load_embeddings
from shipway.recipes.intents.encode import IntentsEncoder
from shipway.recipes.intents.layers import NearestRows, kept_rows
from shipway.recipes.intents.linear import Solution, gain, refusal
from shipway.recipes.intents.params import Params
from shipway.recipes.layers import CompactEmbedding, StepDropout, adam, recurrent
from shipway.tasks.classification.layers import SmoothedCrossentropy, accuracy


class WeightedBags(tf_keras.layers.Layer):  # type: ignore[misc]
    """Two sums of a text's n-gram embeddings by IDF weight: of words and of characters, side by side.

    The weights of each have length 1 (as rows of a TF-IDF matrix do): a text has many more runs of characters than
    words, and in one sum the words would hardly count.

    Args:
        idf: Weight of each gram id, float32, shape (ids,); id 0 is padding and weighs nothing.
        first_char_gram: Ids below it are words.
        dim: Width of an embedding.
        members: Embeddings of each n-gram, one for each member of the committee.
        feature_dropout: Share of a text's n-grams that are hidden in training.
    """

    def __init__(
        self,
        idf: NDArray[np.float32],
        first_char_gram: int,
        dim: int,
        members: int,
        feature_dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._idf, self._cut, self._dim, self._members = idf, first_char_gram, dim, members
        self.embedding = CompactEmbedding(len(idf), dim * members, name="grams")
        self.hide = StepDropout(feature_dropout, name="hide_grams")

    def build(self, _shape: Any) -> None:
        self.idf = self.add_weight(
            "idf", self._idf.shape, initializer=tf_keras.initializers.Constant(self._idf), trainable=False
        )

    def call(self, grams: Any, training: Any = None) -> Any:
        weights = tf.gather(self.idf, grams)
        is_word = tf.cast(grams < self._cut, weights.dtype)
        both = tf.stack([weights * is_word, weights * (1.0 - is_word)], axis=1)
        norm = tf.sqrt(tf.reduce_sum(tf.square(both), axis=2, keepdims=True)) + 1e-6
        hidden = tf.expand_dims(self.hide(tf.ones_like(weights), training=training), 1) * both / norm
        bags = tf.matmul(hidden, self.embedding(grams, training=training))
        parts = tf.split(bags, self._members, axis=2)
        return [tf.reshape(part, [-1, 2 * self._dim]) for part in parts]


class SentenceGate(tf_keras.layers.Layer):  # type: ignore[misc]
    """A sentence encoder's vectors, brought to length 1; zeros where they were left out. Never trained."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)  # whatever the policy: a square may be more than half precision has

    def build(self, _shape: Any) -> None:
        # Whether what lies behind sees the vectors; then shares of the eval split that are answered right with them and
        # without, 0 until told. A weight, so that it is in every checkpoint.
        usual = tf_keras.initializers.Constant([1.0, 0.0, 0.0])
        self.judged = self.add_weight("judged", (3,), initializer=usual, trainable=False)

    def take(self, solution: Solution) -> None:
        """Opens or closes it."""
        shares = [solution.right, solution.right_alone]
        self.set_weights([np.array([solution.uses_sentences, *shares], np.float32)])

    def call(self, vectors: Any) -> Any:
        length = tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=1, keepdims=True)) + 1e-6
        return vectors / length * self.judged[0]


class SolvedLinear(tf_keras.layers.Layer):  # type: ignore[misc]
    """Logits of the linear SVM that `linear.solve` finds; uniform until `take` was called, never trained.

    Its table is held in half precision: with hundreds of classes it is the model's largest, and margins stand 0.001.

    Args:
        idf: Weight of each gram id that it knows, float32, shape (ids,); other ids count for nothing.
        first_char_gram: Ids below it are words.
        classes: How many.
        width: Of the vectors that it weighs too; 0: there are none.
    """

    def __init__(
        self, idf: NDArray[np.float32], first_char_gram: int, classes: int, width: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)  # whatever the policy: no cast of the whole table at each call
        self._idf, self._cut, self._classes, self._width = idf, first_char_gram, classes, width

    def build(self, _shape: Any) -> None:
        idf = tf_keras.initializers.Constant(self._idf)
        self.idf = self.add_weight("idf", self._idf.shape, initializer=idf, trainable=False)
        self.table = self.add_weight(
            "table", (len(self._idf), self._classes), dtype=tf.float16, initializer="zeros", trainable=False
        )
        self.bias = self.add_weight("bias", (self._classes,), initializer="zeros", trainable=False)
        self.temperature = self.add_weight("temperature", (), initializer="ones", trainable=False)
        if self._width:
            shape = (self._width, self._classes)
            self.sentence_table = self.add_weight("sentence_table", shape, initializer="zeros", trainable=False)

    def take(self, solution: Solution) -> None:
        """Sets its weights."""
        weights = [self._idf, solution.table, solution.bias, np.float32(solution.temperature)]
        self.set_weights([*weights, *([solution.sentence_table] if self._width else [])])

    def call(self, grams: Any, sentence: Any = None) -> Any:
        known = tf.where(grams < len(self._idf), grams, tf.zeros_like(grams))
        weights = tf.gather(self.idf, known)
        is_word = tf.cast(known < self._cut, tf.float32)
        both = tf.stack([weights * is_word, weights * (1.0 - is_word)], axis=1)
        unit = both / (tf.sqrt(tf.reduce_sum(tf.square(both), axis=2, keepdims=True)) + 1e-6)
        rows = tf.cast(tf.gather(self.table, known), tf.float32)
        # An n-gram is in one of the two bags only: one product does for both.
        margins = tf.squeeze(tf.matmul(tf.reduce_sum(unit, axis=1, keepdims=True), rows), 1) + self.bias
        if sentence is not None:
            margins += tf.matmul(tf.cast(sentence, tf.float32), self.sentence_table)
        return margins / self.temperature


def build(params: Params, encoder: IntentsEncoder) -> Any:
    """The uncompiled model: `grams`, `words` where they are read, int64 (n, length), and `sentence` where the encoder
    gives vectors, float32 (n, width) -> logits (n, classes); where there is a solved member and vectors, a dict of
    `logits` and `similarity` (n,), how alike a text is to training rows.

    Its members are models of their own that share their input and nothing else: the first is a linear SVM that is
    solved for (or, where `refusal` says so, trained and linear in its bags), the others have hidden units and the part
    that reads words. Each of these learns by its own loss; the answer is the mean.
    """
    classes, idf = len(encoder.labels), encoder.idf()
    grams = tf_keras.Input((None,), dtype=tf.int64, name="grams")
    words = tf_keras.Input((None,), dtype=tf.int64, name="words")
    solved = refusal(params, encoder) is None
    numbers = range(1 if solved else 0, params.members)
    bags = WeightedBags(idf, encoder.first_char_gram, params.dim, len(numbers), params.feature_dropout, name="wide")(
        grams
    )
    inputs = {"grams": grams}
    read = None
    if params.architecture != "bag" or params.embeddings:
        inputs["words"] = words
        read = _reader(params, encoder, words)
    sentence, width = None, 0
    if encoder.sentences is not None:
        width = encoder.sentences.identity.width
        inputs["sentence"] = tf_keras.Input((width,), dtype=tf.float32, name="sentence")
        sentence = SentenceGate(name="sentence_gate")(inputs["sentence"])
    answers = [
        _member(params, classes, number, bag, None if number == 0 and params.members > 1 else read, sentence)
        for number, bag in zip(numbers, bags, strict=True)
    ]
    if params.members == 1:
        return tf_keras.Model(inputs, answers[0], name="intents")
    linear = None
    if solved:
        table = SolvedLinear(idf[: encoder.first_across], encoder.first_char_gram, classes, width, name="solved")
        linear = table(grams) if sentence is None else table(grams, sentence)
    logits = Committee(params.svm_weight, name="logits")(answers, linear)
    if not solved or sentence is None:
        return tf_keras.Model(inputs, logits, name="intents")
    similarity = NearestRows(kept_rows(encoder), width, name="similarity")(sentence)
    return tf_keras.Model(inputs, {"logits": logits, "similarity": similarity}, name="intents")


def finish(model: Any, params: Params, encoder: IntentsEncoder) -> Finished:
    """A trained model as it is served: behind a closed gate, one that never saw a vector and gives the same answers."""
    if encoder.sentences is None:
        return Finished(model, encoder)
    is_open, right, right_alone = model.get_layer("sentence_gate").get_weights()[0].tolist()
    facts = {"sentence encoder": encoder.sentences.told}
    headline = [f"{gain(right, right_alone, is_used=bool(is_open))}."] if right or right_alone else []
    if is_open:
        return Finished(model, encoder, facts, headline)
    encoder = encoder.without_sentences()
    slim = build(params, encoder)
    for layer in (each for each in slim.layers if each.weights):  # others are named by the order they are made in
        # What vectors are multiplied with lies behind all else, as a kernel's last rows or a layer's last weight.
        pairs = zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=False)
        layer.set_weights([kept[tuple(map(slice, wanted.shape))] for wanted, kept in pairs])
    return Finished(slim, encoder, headline=headline)


def _member(params: Params, classes: int, number: int, bag: Any, read: Any, sentence: Any) -> Any:
    """Logits of one member: a direct path, and but for the first of several, hidden units beside it."""
    parts = [bag, *(part for part in (read, sentence) if part is not None)]
    joined = bag if len(parts) == 1 else tf_keras.layers.Concatenate(name=f"joined_{number}")(parts)
    dropped = StepDropout(params.dropout, name=f"drop_joined_{number}")(joined)
    logits = tf_keras.layers.Dense(classes, name=f"direct_{number}")(dropped)
    if not params.hidden or (number == 0 and params.members > 1):
        return logits
    hidden = tf_keras.layers.Dense(params.hidden, activation="relu", name=f"hidden_{number}")(joined)
    hidden = StepDropout(params.dropout, name=f"drop_hidden_{number}")(hidden)
    deep = tf_keras.layers.Dense(classes, use_bias=False, name=f"deep_{number}")(hidden)
    return tf_keras.layers.Add(name=f"logits_{number}")([logits, deep])


class Committee(tf_keras.layers.Layer):  # type: ignore[misc]
    """Several members' logits as one: the mean of their log probabilities, shape (n, classes).

    The mean of the probabilities themselves would follow whichever member is surest, right or wrong. In training those
    that are trained are given, shape (n, members, classes), so that each has a loss of its own.

    Args:
        svm_weight: What the solved member counts for beside each of the others.
    """

    def __init__(self, svm_weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._svm_weight = svm_weight

    def call(self, answers: Any, linear: Any = None, training: Any = None) -> Any:
        stacked = tf.nn.log_softmax(tf.stack(answers, axis=1))
        if training:
            return stacked
        if linear is None:
            return tf.reduce_mean(stacked, axis=1)
        total = tf.cast(tf.reduce_sum(stacked, axis=1), tf.float32) + self._svm_weight * tf.nn.log_softmax(linear)
        return total / (len(answers) + self._svm_weight)


def _reader(params: Params, encoder: IntentsEncoder, words: Any) -> Any:
    """What the words say in order: shape (n, width)."""
    table = load_embeddings(params.embeddings, encoder) if params.embeddings else None
    width = params.word_dim if table is None else table.shape[1]
    embedded = CompactEmbedding(encoder.word_ids, width, initial=table, name="word_table")(words)
    kind = embedded.dtype  # of the precision that is computed in
    mask = tf_keras.layers.Lambda(lambda ids: tf.cast(ids > 0, kind)[..., None], name="mask")(words)
    embedded = StepDropout(params.feature_dropout, broadcast_last=True, name="hide_words")(embedded * mask)
    if params.architecture == "bag":
        count = tf.reduce_sum(mask, axis=1) + 1e-6
        return tf.reduce_sum(embedded, axis=1) / tf.sqrt(count)
    if params.architecture == "cnn":
        # Two zeros behind: a filter of width 3 needs three words, and a text may have one.
        padded = tf_keras.layers.ZeroPadding1D((0, 2), name="pad")(embedded)
        pooled = [
            tf_keras.layers.GlobalMaxPooling1D(name=f"pool_{width}")(
                tf_keras.layers.Conv1D(params.units, width, activation="relu", name=f"conv_{width}")(padded)
            )
            for width in (1, 2, 3)
        ]
        return tf_keras.layers.Concatenate(name="read")(pooled)
    states = tf_keras.layers.Bidirectional(recurrent(params.architecture, params.units), name="read")(
        embedded, mask=tf.squeeze(mask, -1) > 0
    )
    # Maximum over the real words: states are above -1, so padding at -1 never wins.
    return tf_keras.layers.Lambda(lambda pair: tf.reduce_max(pair[0] * pair[1] - (1.0 - pair[1]), axis=1), name="peak")(
        [states, mask]
    )


def compile_model(model: Any, params: Params, optimizer_wrapper: Any, total_steps: int | None) -> None:
    """Compiles with smoothed cross-entropy and `SparseAdam`."""
    loss = SmoothedCrossentropy(params.label_smoothing)
    is_alone = not isinstance(model.output, Mapping)
    model.compile(
        optimizer=adam(params.learning_rate, params.decay, total_steps, optimizer_wrapper),
        loss=loss if is_alone else {"logits": loss},
        metrics=[accuracy] if is_alone else {"logits": [accuracy]},
    )
