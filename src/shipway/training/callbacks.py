"""What happens between steps and at the end of an interval. Imports TensorFlow."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tf_keras
from numpy.typing import NDArray

from shipway.errors import LeaseLapsed, ShipwayError
from shipway.training.checkpoint import Arrays, Checkpoints, LoopState
from shipway.training.progress import LeaseWatch, ProgressFile, Report, StallWatch, TensorBoardLog, audited

if TYPE_CHECKING:
    from shipway.training.distribution import Distribution
    from shipway.training.spec import FitSpec

PROGRESS_EVERY_S = 1.0


@dataclass
class Monitor:
    """Whom a training tells, and who watches over it; all optional."""

    progress: ProgressFile | None = None
    tensorboard: TensorBoardLog | None = None
    lease: LeaseWatch | None = None
    stall: StallWatch | None = None
    metric_lines: Any = None  # print_metrics, on the chief
    audit: bool = field(default_factory=audited)


class _Evaluates(Protocol):
    def sums(self) -> NDArray[np.float64]: ...


class IntervalCallback(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Ends every interval: evaluates, decides on early stopping, joins the save of a checkpoint."""

    def __init__(
        self,
        spec: FitSpec,
        state: LoopState,
        best: Arrays,
        dist: Distribution,
        checkpoints: Checkpoints | None,
        evaluation: _Evaluates,
        monitor: Monitor,
        report: Report | None,
        total: int,
        interval: int,
    ) -> None:
        super().__init__()
        self.spec, self.state, self.best_weights, self.dist = spec, state.model_copy(), best, dist
        self.checkpoints, self.evaluation, self.monitor, self.report = checkpoints, evaluation, monitor, report
        self.total, self.interval = total, interval
        self._supports_tf_logs = False
        self._sums = np.zeros(3)  # loss, accuracy, steps of this worker since the last interval
        self._began = self._told = time.monotonic()
        self._batch = spec.batch_size * dist.replicas

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        self.state.step += 1
        self._sums += [float(logs["loss"]), float(logs["accuracy"]), 1.0]
        monitor = self.monitor
        if monitor.stall is not None:
            monitor.stall.alive()
        now = time.monotonic()
        if monitor.progress is not None and (monitor.audit or now - self._told >= PROGRESS_EVERY_S):
            self._told = now
            record: dict[str, Any] = {"step": self.state.step, "total_steps": self.total, "epoch": self._epoch()}
            record |= {"loss": _finite(logs["loss"]), "accuracy": _finite(logs["accuracy"])}
            if "batch_hash" in logs:
                record["batch_hash"] = f"{int(logs['batch_hash']):016x}"
            monitor.progress.write(**record, examples_per_s=self._rate(now))
        if monitor.lease is not None and monitor.lease.lapsed.is_set():
            self._save()
            raise LeaseLapsed(
                f"the lease of this job lapsed at step {self.state.step}: the step that started it is gone; a "
                "checkpoint was saved, the same run goes on from it"
            )
        if self.state.step >= self.total:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # One sum over workers for everything: also the barrier at which all join the save.
        told = self.dist.sum(np.concatenate([self._sums, self.evaluation.sums()]))
        loss, accuracy, steps, hits, loss_sum, rows = (float(value) for value in told)
        metrics = {"loss": loss / max(steps, 1.0), "accuracy": accuracy / max(steps, 1.0)}
        metrics |= {"val_accuracy": hits / rows, "val_loss": loss_sum / rows}
        if not math.isfinite(metrics["loss"]) or not math.isfinite(metrics["val_loss"]):
            raise ShipwayError(
                f"training diverged: loss {metrics['loss']} at step {self.state.step}; lower params.learning_rate"
            )
        self._judge(metrics)
        going = self._tell(metrics)
        self.state.finished = self.state.finished or not going or self.state.step >= self.total
        self._save()
        if self.state.finished:
            self.model.stop_training = True
        self._sums = np.zeros(3)
        self._began = time.monotonic()

    def _judge(self, metrics: dict[str, float]) -> None:
        """Keeps the best weights; counts towards early stopping."""
        rule = self.spec.early_stopping
        name = rule.metric if rule else "val_accuracy"
        sign = -1.0 if name == "val_loss" else 1.0
        value = sign * metrics[name]
        least = rule.min_delta if rule else 0.0
        self.state.metrics = metrics
        if self.state.best_value is None or value > self.state.best_value + least:
            self.state.best_value, self.state.best_step, self.state.patience_used = value, self.state.step, 0
            self.state.best_metrics = metrics
            self.best_weights = self.model.get_weights()
            return
        if value == self.state.best_value and metrics["val_loss"] < self.state.best_metrics["val_loss"]:
            # As accurate and surer of itself: better weights, though no reason to go on.
            self.state.best_step, self.state.best_metrics = self.state.step, metrics
            self.best_weights = self.model.get_weights()
        self.state.patience_used += 1
        if rule and self.state.patience_used >= rule.patience:
            self.state.finished = True

    def _tell(self, metrics: dict[str, float]) -> bool:
        now = time.monotonic()
        rate = self._rate(now)
        if self.monitor.progress is not None:
            self.monitor.progress.write(
                step=self.state.step, total_steps=self.total, epoch=self._epoch(), interval=True,
                examples_per_s=rate, **metrics,
            )  # fmt: skip
        if self.monitor.metric_lines is not None:
            self.monitor.metric_lines(self.state.step, metrics)
        if self.monitor.tensorboard is not None:
            self.monitor.tensorboard.write(self.state.step, {**metrics, "examples_per_s": rate})
        return True if self.report is None else self.report(self.state.step, dict(metrics))

    def _save(self) -> None:
        if self.checkpoints is None or not self.dist.is_chief:
            return
        optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        self.checkpoints.save(self.state, self.model.get_weights(), optimizer, self.best_weights)

    def _epoch(self) -> float:
        return round(self.state.step * self.spec.epochs / self.total, 4)

    def _rate(self, now: float) -> float:
        return round(float(self._sums[2]) * self._batch / max(now - self._began, 1e-9), 1)


def _finite(value: Any) -> float | None:
    number = float(value)
    return round(number, 8) if math.isfinite(number) else None
