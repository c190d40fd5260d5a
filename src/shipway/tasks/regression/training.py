"""What a regression is trained by and what it serves. TensorFlow inside the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.tasks.base import Metric
from shipway.tasks.regression.figures import SUMS, averages, rmse_stderr


class Head:
    """Implements `shipway.tasks.base.TrainingHead`: squared error; a model gives (n,) or (n, 1)."""

    metrics: Mapping[str, Metric] = {
        "rmse": Metric("RMSE", is_share=False, lower_is_better=True),
        "mae": Metric("MAE", is_share=False, lower_is_better=True),
        "r2": Metric("R²", is_share=False),
    }
    batch_metrics: Sequence[str] = ("mae",)

    def batch(self, outputs: Any, targets: Mapping[str, Any]) -> dict[str, Any]:
        import tensorflow as tf

        return {"mae": tf.reduce_mean(tf.abs(_flat(outputs) - targets["label"]))}

    def sums(self, outputs: Any, targets: Mapping[str, Any]) -> Any:
        """Those of `figures.statistics`, truth counted from 0, and the errors' fourth powers."""
        import tensorflow as tf

        truth = tf.cast(targets["label"], tf.float64)
        error = tf.cast(_flat(outputs), tf.float64) - truth
        parts = [tf.ones_like(error), error, tf.abs(error), error**2, truth, truth**2, error**4]
        return tf.stack([tf.reduce_sum(part) for part in parts])

    def served(self, labels: Sequence[str]) -> dict[str, list[int | None]]:
        return {"value": []}

    def served_sums(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        truth = targets["label"].astype(np.float64)
        error = outputs["value"].astype(np.float64).reshape(-1) - truth
        parts = [np.ones_like(error), error, np.abs(error), error**2, truth, truth**2, error**4]
        return np.array([part.sum() for part in parts])

    def totals(self, sums: NDArray[np.float64]) -> dict[str, float]:
        means = averages(sums[None, :SUMS])
        return {**{name: float(means[name][0]) for name in self.metrics}, "loss": float(sums[3] / sums[0])}

    def stderr(self, sums: NDArray[np.float64]) -> float:
        return rmse_stderr(float(sums[0]), float(sums[3]), float(sums[6]))

    def calibrate(self, outputs: Any, targets: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        return {}

    def serve(self, outputs: Any, constants: Mapping[str, float]) -> dict[str, Any]:
        import tensorflow as tf

        return {"value": tf.identity(_flat(outputs), name="value")}


def _flat(outputs: Any) -> Any:
    """float32 (n,): a row's number may stand in a dimension of its own."""
    import tensorflow as tf

    return tf.cast(tf.reshape(outputs, [-1]), tf.float32)
