"""What a tagger is trained by and what it serves. TensorFlow inside the methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.tasks.base import Metric
from shipway.tasks.tagging.calibration import calibrate


class Head:
    """Implements `shipway.tasks.base.TrainingHead`: micro F1 at 0.5, binary cross-entropy, calibrated scores.

    The model gives logits, float32 (n, tags); `BinaryCrossentropy(from_logits=True)` is the loss that `val_loss` is.
    """

    metrics: Mapping[str, Metric] = {"micro_f1": Metric("Micro F1")}
    batch_metrics: Sequence[str] = ("micro_f1",)

    def batch(self, outputs: Any, targets: Mapping[str, Any]) -> dict[str, Any]:
        import tensorflow as tf

        twice_right, below = _parts(outputs, targets["label"], tf.float32)
        return {"micro_f1": tf.math.divide_no_nan(tf.reduce_sum(twice_right), tf.reduce_sum(below))}

    def sums(self, outputs: Any, targets: Mapping[str, Any]) -> Any:
        """F1 is a ratio a / b of sums over rows: a, b, a*a, a*b, b*b; then the summed loss, and rows."""
        import tensorflow as tf

        labels = targets["label"]
        a, b = _parts(outputs, labels, tf.float64)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, tf.cast(outputs, tf.float32))
        loss = tf.cast(tf.reduce_mean(losses, axis=-1), tf.float64)
        return tf.stack([tf.reduce_sum(part) for part in (a, b, a * a, a * b, b * b, loss, tf.ones_like(loss))])

    def served(self, labels: Sequence[str]) -> dict[str, list[int | None]]:
        return {"scores": [len(labels)]}

    def served_sums(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        scores, labels = outputs["scores"].astype(np.float64), targets["label"]
        named, true = scores >= 0.5, labels > 0.5
        a, b = 2.0 * (named & true).sum(axis=-1), 1.0 * named.sum(axis=-1) + true.sum(axis=-1)
        chosen = np.where(true, scores, 1 - scores)
        losses = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean(axis=-1)
        return np.array([part.sum() for part in (a, b, a * a, a * b, b * b, losses, np.ones_like(losses))])

    def totals(self, sums: NDArray[np.float64]) -> dict[str, float]:
        a, b, *_, loss, rows = (float(value) for value in sums)
        return {"micro_f1": a / b if b else 0.0, "loss": loss / rows}

    def stderr(self, sums: NDArray[np.float64]) -> float:
        """Of a ratio of sums by the delta method: sqrt(sum (a - F1 * b)^2) / sum b, each row standing for itself."""
        a, b, aa, ab, bb, _loss, _rows = (float(value) for value in sums)
        if not b:
            return 0.0
        ratio = a / b
        return math.sqrt(max(aa - 2 * ratio * ab + ratio**2 * bb, 0.0)) / b

    def calibrate(self, outputs: Any, targets: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        return {"temperature": calibrate(outputs, targets["label"])}

    def serve(self, outputs: Any, constants: Mapping[str, float]) -> dict[str, Any]:
        import tensorflow as tf

        return {"scores": tf.sigmoid(tf.cast(outputs, tf.float32) / constants["temperature"], name="scores")}


def _parts(outputs: Any, labels: Any, dtype: Any) -> tuple[Any, Any]:
    """By row: twice the tags that are rightly named at 0.5; named and true ones."""
    import tensorflow as tf

    named, true = outputs >= 0, labels > 0.5
    right, named, true = (
        tf.reduce_sum(tf.cast(part, dtype), axis=-1) for part in (tf.logical_and(named, true), named, true)
    )
    return 2 * right, named + true
