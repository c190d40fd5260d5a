"""What happens between steps and at the end of an interval. Imports TensorFlow."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from shipway.errors import LeaseLapsed, ShipwayError
from shipway.training.checkpoint import Arrays, Checkpoints, LoopState
from shipway.training.judging import Rule, judge
from shipway.training.measure import WAITED
from shipway.training.progress import Monitor, Pause, Report

if TYPE_CHECKING:
    from shipway.training.distribution import Distribution
    from shipway.training.measure import Evaluation
    from shipway.training.spec import FitSpec

PROGRESS_EVERY_S = 1.0


class IntervalCallback(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Ends every interval: evaluates, decides on early stopping, joins the save of a checkpoint."""

    def __init__(
        self,
        spec: FitSpec,
        rule: Rule,
        state: LoopState,
        best: Arrays,
        dist: Distribution,
        checkpoints: Checkpoints | None,
        evaluation: Evaluation,
        monitor: Monitor,
        report: Report | None,
        total: int,
        interval: int,
        steps_per_epoch: float,
    ) -> None:
        super().__init__()
        self.spec, self.rule, self.state, self.best_weights, self.dist = spec, rule, state.model_copy(), best, dist
        self.checkpoints, self.evaluation, self.monitor, self.report = checkpoints, evaluation, monitor, report
        self.total, self.interval, self.steps_per_epoch = total, interval, steps_per_epoch
        self.is_paused = False  # its report asked for it: a checkpoint was saved, and more is to be trained
        self._supports_tf_logs = False
        self._names = ("loss", *evaluation.head.batch_metrics)
        self._sums = np.zeros(1 + len(self._names))  # steps of this worker since the last interval, and those numbers
        self._began = self._told = time.monotonic()
        self._batch = spec.batch_size * dist.replicas

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.monitor.usage is not None:
            self.monitor.usage.input.pause()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        self.state.step += 1
        self._sums += [1.0, *(float(logs[name]) for name in self._names)]
        monitor = self.monitor
        if monitor.stall is not None:
            monitor.stall.alive()
        now = time.monotonic()
        if monitor.usage is not None and WAITED in logs:
            monitor.usage.input.step(now, float(logs[WAITED]))
        if monitor.progress is not None and (monitor.audit or now - self._told >= PROGRESS_EVERY_S):
            self._told = now
            record: dict[str, Any] = {"step": self.state.step, "total_steps": self.total, "epoch": self._epoch()}
            record |= {name: _finite(logs[name]) for name in self._names}
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
        total = self.dist.sum(np.concatenate([self._sums, self.evaluation.sums()]))
        own, sums = total[: len(self._sums)], total[len(self._sums) :]
        metrics = {name: float(value) for name, value in zip(self._names, own[1:] / max(own[0], 1.0), strict=True)}
        metrics |= self.evaluation.metrics(sums)
        if not math.isfinite(metrics["loss"]) or not math.isfinite(metrics["val_loss"]):
            raise ShipwayError(
                f"training diverged: loss {metrics['loss']} at step {self.state.step}; lower params.learning_rate"
            )
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ShipwayError(f"the task's {name} is {value} at step {self.state.step}, though its loss is finite")
        if judge(self.rule, self.state, metrics, sums):
            self.best_weights = self.model.get_weights()
        over = self.state.finished or self.state.step >= self.total
        try:
            going = self._tell(metrics)
        except Pause:
            going, self.is_paused = True, not over
        self.state.finished = over or not going
        self._save()
        if self.state.finished or self.is_paused:
            self.model.stop_training = True
        self._sums[:] = 0.0
        self._began = time.monotonic()
        if self.monitor.usage is not None:
            self.monitor.usage.input.go(self._began)

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
            told = {**metrics, "examples_per_s": rate, **self._learning_rate()}
            self.monitor.tensorboard.write(self.state.step, told)
        return True if self.report is None else self.report(self.state.step, dict(metrics))

    def _save(self) -> None:
        if self.checkpoints is None or not self.dist.is_chief:
            return
        optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        self.checkpoints.save(self.state, self.model.get_weights(), optimizer, self.best_weights)

    def _learning_rate(self) -> dict[str, float]:
        """Of the last step; nothing where an optimizer of one's own has none."""
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if callable(rate):
            rate = rate(self.model.optimizer.iterations)
        # A strategy's variable is no number before it is a tensor.
        return {} if rate is None else {"learning_rate": float(tf.convert_to_tensor(rate))}

    def _epoch(self) -> float:
        return round(self.state.step / self.steps_per_epoch, 4)

    def _rate(self, now: float) -> float:
        return round(float(self._sums[0]) * self._batch / max(now - self._began, 1e-9), 1)


def _finite(value: Any) -> float | None:
    number = float(value)
    return round(number, 8) if math.isfinite(number) else None
