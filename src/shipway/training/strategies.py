"""The spec's strategy, as this worker takes part in it. Imports TensorFlow."""

from __future__ import annotations

from shipway.errors import InvalidSpec
from shipway.training.distribution import Distribution, Horovod, Mirrored, MultiWorker
from shipway.training.parameter_server import ParameterServer
from shipway.training.spec import FitSpec

WAIT_SHARE = 0.9  # of the time without a step: who did not come is named before the watch ends a chief that waits


def open_distribution(spec: FitSpec) -> Distribution:
    """The spec's strategy, as this worker takes part in it.

    Raises:
        InvalidSpec: the surroundings (TF_CONFIG, mpirun) have another number of workers than the spec.
    """
    made: Distribution
    if spec.strategy == "multi_worker":
        made = MultiWorker()
    elif spec.strategy == "horovod":
        made = Horovod(spec.gradient_compression)
    elif spec.strategy == "parameter_server":
        made = ParameterServer(WAIT_SHARE * spec.stall_timeout_s)
    elif spec.strategy == "mirrored":
        made = Mirrored()
    else:
        made = Distribution()
    if made.workers != spec.workers:
        raise InvalidSpec(f"the spec says {spec.workers}, this job has {made.workers}", field="training.workers")
    if isinstance(made, Mirrored):
        made.cut(spec.batch_size)
    return made
