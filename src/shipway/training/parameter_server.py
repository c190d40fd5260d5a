"""Strategy `parameter_server`: variables live with the ps, and one graph of the chief's holds the work of all workers.

Each step is one function over all devices of the job. The chief cuts the global batch; each worker computes the
gradients of its part, reading from the ps what it needs (of an embedding the rows); gradients go from worker to ps,
where their mean is applied once. It is the step of `single`, computed in several places. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from shipway.recipes.layers import drawing_for
from shipway.training.answering import named, wait_for
from shipway.training.distribution import Distribution, Measured
from shipway.training.rank import place_in_cluster


class ParameterServer(Distribution):
    """The chief of such a job; the others only serve (`shipway.training.cluster_server`).

    Args:
        within_s: How long to wait for the last worker or ps.

    Raises:
        RetryableError: one did not come.
    """

    def __init__(self, within_s: float) -> None:
        super().__init__()
        cluster, role, index = place_in_cluster()
        wait_for(named(cluster, ("worker", "ps")), within_s)
        tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec(cluster), job_name=role, task_index=index)
        self._devices = [device for place in _places(cluster, ("chief", "worker")) for device in _compute(place)]
        self._held = dict.fromkeys((f"{place}/device:CPU:0" for place in _places(cluster, ("ps",))), 0)
        self._workers = len(cluster["chief"]) + len(cluster["worker"])
        self.replicas = len(self._devices)

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def local_replicas(self) -> int:
        return 1  # a step's numbers are those of the whole batch

    def scope(self) -> AbstractContextManager[Any]:
        scope: AbstractContextManager[Any] = tf.variable_creator_scope(self._placed)
        return scope

    def step(self, model: Any, batch: Any, measured: Measured) -> Any:
        model.optimizer.jit_compile = False  # a compiled update would have to run where the chief is
        count, variables = self.replicas, model.trainable_variables
        parts = [{name: tf.split(value, count) for name, value in side.items()} for side in batch]
        gradients, numbers = [], []
        for part, device in enumerate(self._devices):
            with tf.device(device), drawing_for(part):
                with tf.GradientTape() as tape:
                    loss, own = measured(tuple({name: cut[part] for name, cut in side.items()} for side in parts))
                gradients.append(tape.gradient(loss, variables))
                numbers.append(own)
        means = []
        for variable, *own in zip(variables, *gradients, strict=True):
            with tf.device(variable.device):
                means.append((_mean(own), variable))
        model.optimizer.apply_gradients(means)
        return tf.add_n(numbers) / count

    def _placed(self, make: Any, **given: Any) -> Any:
        """Makes a variable with the ps that holds the fewest bytes so far."""
        is_colocated = "/job:ps/" in tf.zeros(()).device  # an optimizer's slot belongs beside its variable
        if is_colocated or given.get("synchronization") == tf.VariableSynchronization.ON_READ:  # Keras' own sums
            return make(**given)
        device = min(self._held, key=lambda each: self._held[each])
        with tf.device(device):
            variable = make(**given)
        self._held[device] += variable.dtype.size * (variable.shape.num_elements() or 0)
        return variable


def _places(cluster: dict[str, list[str]], roles: Iterable[str]) -> list[str]:
    return [f"/job:{role}/replica:0/task:{index}" for role in roles for index in range(len(cluster.get(role, [])))]


def _compute(place: str) -> list[str]:
    """A replica's GPUs, or its processor."""
    gpus = [device.name for device in tf.config.list_logical_devices("GPU") if device.name.startswith(f"{place}/")]
    return gpus or [f"{place}/device:CPU:0"]


def _mean(gradients: list[Any]) -> Any:
    """Of one variable's gradients; rows of an embedding stay rows."""
    if gradients[0] is None:
        return None
    if not isinstance(gradients[0], tf.IndexedSlices):
        return tf.add_n(gradients) / len(gradients)
    values = tf.concat([each.values for each in gradients], 0) / len(gradients)
    return tf.IndexedSlices(values, tf.concat([each.indices for each in gradients], 0), gradients[0].dense_shape)
