"""What a tagger is trained by and what it serves. TensorFlow inside the methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.tasks.base import Metric
from shipway.tasks.classification.calibration import calibrate
from shipway.tasks.spans.tags import bounds


class Head:
    """Implements `shipway.tasks.base.TrainingHead`.

    A model gives logits, float32 (n, length, tags; see `shipway.tasks.spans.tags`), or a dict of `logits` and `tags`,
    the tag ids (n, length) that it chose itself: a CRF's best path.
    """

    metrics: Mapping[str, Metric] = {"f1": Metric("Entity F1"), "token_accuracy": Metric("Right tokens")}
    batch_metrics: Sequence[str] = ("token_accuracy",)

    def batch(self, outputs: Any, targets: Mapping[str, Any]) -> dict[str, Any]:
        import tensorflow as tf

        truth, (_, tags) = targets["label"], _chosen(outputs)
        is_token = truth >= 0
        right = tf.reduce_sum(tf.cast(is_token & (tags == truth), tf.float32))
        return {"token_accuracy": right / tf.maximum(tf.reduce_sum(tf.cast(is_token, tf.float32)), 1.0)}

    def sums(self, outputs: Any, targets: Mapping[str, Any]) -> Any:
        """Spans that are right, predicted, true; tokens that are right, all tokens, their summed cross-entropy."""
        import tensorflow as tf

        truth, (logits, tags) = targets["label"], _chosen(outputs)
        is_token = truth >= 0
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(truth, 0), logits)
        tags = tf.where(is_token, tags, -1)
        tokens = [is_token & (tags == truth), is_token, tf.where(is_token, losses, 0.0)]
        parts = [*span_counts(truth, tags), *(tf.reduce_sum(tf.cast(part, tf.float64)) for part in tokens)]
        return tf.stack(parts)

    def served(self, labels: Sequence[str]) -> dict[str, list[int | None]]:
        return {"tags": [None], "scores": [None]}

    def served_sums(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """A wrong tag's score says only what all others can have at most: its loss is counted from that."""
        truth, scores = targets["label"], outputs["scores"].astype(np.float64)
        is_token = truth >= 0
        tags = np.where(is_token, outputs["tags"], -1)
        is_right = is_token & (tags == truth)
        chosen = np.where(is_right, scores, 1 - scores)[is_token]
        losses = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
        (begins, stops), (our_begins, our_stops) = bounds(truth), bounds(tags)
        is_same = ((truth + 1) // 2 == (tags + 1) // 2) & (begins == our_begins) & (stops == our_stops)
        wrong = np.bincount(begins.ravel().cumsum(), ((truth > 0) & ~is_same).ravel())
        totals = [(wrong[1:] == 0).sum(), our_begins.sum(), begins.sum(), is_right.sum(), is_token.sum(), losses.sum()]
        return np.array(totals, dtype=np.float64)

    def totals(self, sums: NDArray[np.float64]) -> dict[str, float]:
        right, predicted, true, hits, tokens, loss = (float(value) for value in sums)
        spans, tokens = max(predicted + true, 1.0), max(tokens, 1.0)
        return {"f1": 2 * right / spans, "token_accuracy": hits / tokens, "loss": loss / tokens}

    def stderr(self, sums: NDArray[np.float64]) -> float:
        """Of F1 = 2r / (2r + e), by the delta method, right spans r and errors e counted as Poisson."""
        right, spans = float(sums[0]), float(sums[1] + sums[2])
        errors = spans - 2 * right
        return 2 * math.sqrt(right * errors * (right + errors)) / spans**2 if spans else 0.0

    def calibrate(self, outputs: Any, targets: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs
        return {"temperature": calibrate(logits.reshape(-1, logits.shape[-1]), targets["label"].reshape(-1))}

    def serve(self, outputs: Any, constants: Mapping[str, float]) -> dict[str, Any]:
        """`tags`, int32 (n, length), and `scores`, float32: the probability of each."""
        import tensorflow as tf

        logits, tags = _chosen(outputs)
        probabilities = tf.nn.softmax(logits / constants["temperature"])
        if isinstance(outputs, Mapping) and "tags" in outputs:
            scores = tf.gather(probabilities, tags, batch_dims=2)
        else:
            scores = tf.reduce_max(probabilities, -1)
        return {"tags": tf.cast(tags, tf.int32, name="tags"), "scores": scores}


def _chosen(outputs: Any) -> tuple[Any, Any]:
    """Logits as float32, and the tag ids (int64) that are the model's answer."""
    import tensorflow as tf

    given = outputs if isinstance(outputs, Mapping) else {"logits": outputs}
    logits = tf.cast(given["logits"], tf.float32)
    return logits, tf.cast(given["tags"], tf.int64) if "tags" in given else tf.argmax(logits, -1)


def span_counts(truth: Any, tags: Any) -> tuple[Any, Any, Any]:
    """Spans with the right bounds and type, predicted and true spans of a batch, as conlleval counts them; float64.

    Args:
        truth: int64 (n, length), -1 where there is no token.
        tags: The same of what a model answers.
    """
    import tensorflow as tf

    (begins, stops), (our_begins, our_stops) = _bounds(truth), _bounds(tags)
    # A true span is found where the two agree at each of its tokens; spans are numbered through the whole batch.
    is_same_type = (truth + 1) // 2 == (tags + 1) // 2
    is_wrong = (truth > 0) & ~(is_same_type & (begins == our_begins) & (stops == our_stops))
    number = tf.cumsum(tf.reshape(tf.cast(begins, tf.int64), [-1]))
    total = tf.reduce_max(tf.pad(number, [[1, 0]]))
    wrong = tf.math.unsorted_segment_sum(tf.reshape(tf.cast(is_wrong, tf.float64), [-1]), number, total + 1)
    right = tf.reduce_sum(tf.cast(wrong[1:] == 0, tf.float64))
    return right, tf.reduce_sum(tf.cast(our_begins, tf.float64)), tf.reduce_sum(tf.cast(begins, tf.float64))


def _bounds(tags: Any) -> tuple[Any, Any]:
    """`shipway.tasks.spans.tags.bounds`, in TensorFlow."""
    import tensorflow as tf

    around = tf.pad(tags, [[0, 0], [1, 1]])
    kinds = (around + 1) // 2
    begins = (around > 0) & ((around % 2 == 1) | (kinds != tf.roll(kinds, 1, axis=1)))
    stops = (around > 0) & tf.roll(begins | (kinds == 0), -1, axis=1)
    return begins[:, 1:-1], stops[:, 1:-1]
