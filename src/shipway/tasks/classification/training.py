"""What a classifier is trained by and what it serves. TensorFlow inside the methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.tasks.base import Metric
from shipway.tasks.classification.calibration import calibrate
from shipway.tasks.classification.sureness import PENALTY, usual


class Head:
    """Implements `shipway.tasks.base.TrainingHead`: accuracy, cross-entropy, calibrated probabilities.

    A model gives logits, float32 (n, classes), or a dict of `logits` and `similarity`, float32 (n,): how alike a row
    is to training rows, as a cosine. Then it serves `sureness` beside the probabilities.
    """

    metrics: Mapping[str, Metric] = {"accuracy": Metric("Accuracy")}
    batch_metrics: Sequence[str] = ("accuracy",)

    def batch(self, outputs: Any, targets: Mapping[str, Any]) -> dict[str, Any]:
        import tensorflow as tf

        logits = _logits(outputs)
        if logits.shape.rank == 3:  # a committee in training: each member has its own loss, their mean answers
            logits = tf.reduce_mean(logits, axis=1)
        hits = tf.equal(tf.argmax(logits, axis=-1), tf.cast(targets["label"], tf.int64))
        return {"accuracy": tf.reduce_mean(tf.cast(hits, tf.float32))}

    def sums(self, outputs: Any, targets: Mapping[str, Any]) -> Any:
        """Hits, summed cross-entropy, rows."""
        import tensorflow as tf

        logits, labels = tf.cast(_logits(outputs), tf.float32), targets["label"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        hits = tf.cast(tf.equal(tf.argmax(logits, -1), labels), tf.float64)
        rows = tf.cast(tf.shape(labels)[0], tf.float64)
        return tf.stack([tf.reduce_sum(hits), tf.reduce_sum(tf.cast(losses, tf.float64)), rows])

    def served(self, labels: Sequence[str]) -> dict[str, list[int | None]]:
        return {"probabilities": [len(labels)]}

    def served_sums(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        given, labels = outputs["probabilities"].astype(np.float64), targets["label"]
        losses = -np.log(np.maximum(given[np.arange(len(labels)), labels], np.finfo(np.float32).tiny))
        return np.array([(given.argmax(axis=-1) == labels).sum(), losses.sum(), len(labels)], dtype=np.float64)

    def totals(self, sums: NDArray[np.float64]) -> dict[str, float]:
        hits, loss, rows = (float(value) for value in sums)
        return {"accuracy": hits / rows, "loss": loss / rows}

    def stderr(self, sums: NDArray[np.float64]) -> float:
        """Of a share, as if each row stood for itself."""
        share, rows = float(sums[0] / sums[2]), float(sums[2])
        return math.sqrt(share * (1 - share) / rows)

    def calibrate(self, outputs: Any, targets: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        constants = {"temperature": calibrate(_logits(outputs), targets["label"])}
        if _has_similarity(outputs):
            constants["usual_similarity"] = usual(outputs["similarity"])
        return constants

    def serve(self, outputs: Any, constants: Mapping[str, float]) -> dict[str, Any]:
        import tensorflow as tf

        logits = tf.cast(_logits(outputs), tf.float32) / constants["temperature"]
        served = {"probabilities": tf.nn.softmax(logits, name="probabilities")}
        if _has_similarity(outputs):
            unusual = tf.minimum(tf.cast(outputs["similarity"], tf.float32) - constants["usual_similarity"], 0.0)
            served["sureness"] = tf.reduce_max(served["probabilities"], axis=-1) * tf.exp(PENALTY * unusual)
        return served


def _logits(outputs: Any) -> Any:
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs


def _has_similarity(outputs: Any) -> bool:
    return isinstance(outputs, Mapping) and "similarity" in outputs
