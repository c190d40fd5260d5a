"""The strategies behind one small surface: who this worker is, where variables live, how workers add up numbers.

Open one before any other TensorFlow operation: collectives must be configured before the runtime starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shipway.errors import InvalidSpec
from shipway.training.order import Share

COLLECTIVE_TIMEOUT_S = 600
Measured = Callable[[Any], tuple[Any, Any]]


class Distribution:
    """One replica, alone: strategy `single`. The other strategies override what differs.

    Attributes:
        rank: 0 is the chief.
        size: Processes with an input of their own.
        workers: Replicas of the job that train.
        replicas: Model copies that a step's batch is divided among.
    """

    def __init__(self) -> None:
        self.rank, self.size, self.replicas = 0, 1, 1

    @property
    def workers(self) -> int:
        return self.size

    @property
    def is_chief(self) -> bool:
        """Whether this worker publishes."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """This worker's part of the input."""
        return Share(self.rank, self.size)

    @property
    def local_replicas(self) -> int:
        """Model copies in this process."""
        return self.replicas // self.size

    def scope(self) -> AbstractContextManager[Any]:
        """Where the model and its optimizer are made."""
        return nullcontext()

    def dataset(self, make: Callable[[], Any]) -> Any:
        """The worker's own dataset in the form that `fit` takes under this strategy."""
        return make()

    def scoring(self) -> AbstractContextManager[Any]:
        """Within it the model is asked, and not trained."""
        return nullcontext()

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over workers, the same on each; every worker must call it, so it is a barrier too."""
        return values

    def step(self, model: Any, batch: Any, measured: Measured) -> Any:
        """One optimiser step: takes the batch's gradients, applies them, and gives the batch's numbers.

        Args:
            model: Compiled.
            batch: Features and targets, this worker's.
            measured: Gives a batch's loss and its numbers, shape (k,) float32.
        """
        with tf.GradientTape() as tape:
            loss, numbers = measured(batch)
        model.optimizer.minimize(loss, model.trainable_variables, tape=tape)
        return numbers

    def optimizer_wrapper(self) -> Callable[[Any], Any] | None:
        """What makes an optimizer exchange gradients, where the strategy itself does not."""
        return None

    def synchronise(self, _model: Any) -> None:
        """Gives every worker the chief's weights, where the strategy itself does not."""


class Mirrored(Distribution):
    """All GPUs of this machine (or its one CPU)."""

    def __init__(self, strategy: Any = None) -> None:
        super().__init__()
        self.strategy = strategy or tf.distribute.MirroredStrategy()
        self.replicas = self.strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        scope: AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def dataset(self, make: Callable[[], Any]) -> Any:
        def of_worker(_context: Any) -> Any:
            whole = make()
            # The worker's batch is cut between its replicas by the strategy, which takes it batch by batch.
            return whole if self.local_replicas == 1 else whole.rebatch(self._per_replica, drop_remainder=True)

        return self.strategy.distribute_datasets_from_function(of_worker)

    _per_replica = 1

    def cut(self, batch: int) -> None:
        """Says the batch of one replica."""
        self._per_replica = batch


class MultiWorker(Mirrored):
    """TensorFlow's collectives over gRPC between the workers that TF_CONFIG names."""

    def __init__(self) -> None:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        if not config.get("cluster"):
            raise InvalidSpec(
                "TF_CONFIG names no cluster; the job needs at least 2 workers", field="strategy multi_worker"
            )
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.RING,
            timeout_seconds=COLLECTIVE_TIMEOUT_S,
        )
        super().__init__(tf.distribute.MultiWorkerMirroredStrategy(communication_options=options))
        resolver = self.strategy.cluster_resolver
        cluster = resolver.cluster_spec().as_dict()
        chiefs = len(cluster.get("chief", []))
        self.size = chiefs + len(cluster.get("worker", []))
        self.rank = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        own = tf.constant(values, tf.float64)
        local = self.local_replicas

        def value(context: Any) -> Any:  # the worker's number once, whatever the number of its replicas
            return own if context.replica_id_in_sync_group % local == 0 else tf.zeros_like(own)

        spread = self.strategy.experimental_distribute_values_from_function(value)
        total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, spread, axis=None)
        return np.asarray(total, dtype=np.float64)


class Horovod(Distribution):
    """Horovod over MPI."""

    def __init__(self, compression: str = "none") -> None:
        super().__init__()
        import horovod.tensorflow.keras as hvd

        hvd.init()
        self._hvd = hvd
        self._compression = hvd.Compression.fp16 if compression == "fp16" else hvd.Compression.none
        self.rank, self.size = hvd.rank(), hvd.size()
        self.replicas = self.size
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")

    @property
    def local_replicas(self) -> int:
        return 1

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = self._hvd.allreduce(tf.constant(values, tf.float64), name="sum", op=self._hvd.Sum)
        return np.asarray(total, dtype=np.float64)

    def optimizer_wrapper(self) -> Callable[[Any], Any]:
        def wrap(optimizer: Any) -> Any:
            return self._hvd.DistributedOptimizer(optimizer, compression=self._compression)

        return wrap

    def synchronise(self, model: Any) -> None:
        import horovod.tensorflow as hvd

        hvd.broadcast_variables([*model.variables, *model.optimizer.variables], root_rank=0)
