"""Strategy `parameter_server`: variables live with the ps, and one graph of the chief's holds the work of all workers.

Each step is one function over all devices of the job. The chief cuts the global batch; each worker computes the
gradients of its part, reading from the ps what it needs (of an embedding the rows); gradients go from worker to ps,
where their mean is applied once. It is the step of `single`, computed in several places. Variables that no gradient
moves lie with each worker. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tensorflow as tf

from shipway.recipes.layers import drawing_for, traced_part
from shipway.training.answering import named, wait_for
from shipway.training.distribution import Distribution, Measured
from shipway.training.rank import place_in_cluster

BESIDE_CHIEF = -1  # the part that scores


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
        self._spread: list[Any] = []  # variables with the ps
        self._own: list[Any] = []  # those that each worker has
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

    def synchronise(self, model: Any) -> None:
        """Gives every worker the chief's value of what no gradient moves; makes the ps update what they hold."""
        _update_beside_variables(model.optimizer)
        for variable in self._own:
            for part, device in enumerate(self._devices[1:], start=1):
                _copy(variable, part, device)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Within it the model has the ps' values beside the chief: they cross the network once, not with each batch."""
        for variable in self._spread:
            _copy(variable, BESIDE_CHIEF, self._devices[0])
        with drawing_for(BESIDE_CHIEF):
            yield

    def _placed(self, make: Any, **given: Any) -> Any:
        """Makes a variable with the ps that holds the fewest bytes so far, or with the chief."""
        if "/job:ps/" in tf.zeros(()).device:  # an optimizer's slot belongs beside its variable
            return make(**given)
        aggregation = given.get("aggregation") or tf.VariableAggregation.NONE  # an optimizer's counter has another
        is_frozen = given.get("trainable") is False and aggregation == tf.VariableAggregation.NONE
        if is_frozen or given.get("synchronization") == tf.VariableSynchronization.ON_READ:  # running means and sums
            variable = make(**given)
            self._own.append(_with_parts(variable))
            return variable
        device = min(self._held, key=lambda each: self._held[each])
        with tf.device(device):
            variable = make(**given)
        self._held[device] += variable.dtype.size * (variable.shape.num_elements() or 0)
        self._spread.append(_with_parts(variable))
        return variable


def _with_parts(variable: Any) -> Any:
    """Lets a variable stand for its copy of the part that is traced, where it has one (`variable.parts`)."""
    made = type(variable)

    def handle(self: Any) -> Any:
        copy = self.parts.get(traced_part())
        return made.handle.fget(self) if copy is None else copy.handle

    variable.parts = {}
    variable.__class__ = type(made.__name__, (made,), {"handle": property(handle)})
    return variable


def _copy(variable: Any, part: int, device: str) -> None:
    """Gives a variable's copy its value; the first time it makes the copy."""
    if part in variable.parts:
        variable.parts[part].assign(variable)
        return
    with tf.device(device):
        variable.parts[part] = tf.Variable(variable, trainable=False)


def _places(cluster: dict[str, list[str]], roles: Iterable[str]) -> list[str]:
    return [f"/job:{role}/replica:0/task:{index}" for role in roles for index in range(len(cluster.get(role, [])))]


def _compute(place: str) -> list[str]:
    """A replica's GPUs, or its processor."""
    gpus = [device.name for device in tf.config.list_logical_devices("GPU") if device.name.startswith(f"{place}/")]
    return gpus or [f"{place}/device:CPU:0"]


def _update_beside_variables(optimizer: Any) -> None:
    """Keras would compute updates where the chief is, and move slots and gradients there and back."""
    optimizer.jit_compile = False  # a compiled update cannot be spread over devices
    optimizer._deduplicate_sparse_grad = lambda gradients: gradients  # as `_mean` gives them
    update = optimizer.update_step

    def beside(gradient: Any, variable: Any) -> None:
        with tf.device(variable.device):
            update(gradient, variable)

    optimizer.update_step = beside


def _mean(gradients: list[Any]) -> Any:
    """Of one variable's gradients; rows of an embedding stay rows, each of them once."""
    if gradients[0] is None:
        return None
    if not isinstance(gradients[0], tf.IndexedSlices):
        return tf.add_n(gradients) / len(gradients)
    rows, slots = tf.unique(tf.concat([each.indices for each in gradients], 0))
    values = tf.concat([each.values for each in gradients], 0) / len(gradients)
    return tf.IndexedSlices(tf.math.unsorted_segment_sum(values, slots, tf.size(rows)), rows, gradients[0].dense_shape)
