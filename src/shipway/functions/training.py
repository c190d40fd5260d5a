"""`shipway.train(train, workers=4, strategy="multi_worker")`: a function as a training job, from a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shipway import runs
from shipway.functions.outcomes import Training
from shipway.functions.starting import packed, sections
from shipway.parameters import mapping, plain
from shipway.remote.where import connected

if TYPE_CHECKING:
    from shipway.remote.connection import Connection


def train(
    function: Callable[..., Any],
    params: Mapping[str, Any] | None = None,
    *,
    workers: int = 1,
    strategy: str = "",
    data: Mapping[str, Any] | None = None,
    name: str = "",
    overrides: Mapping[str, Any] | None = None,
    here: bool = False,
    kfp: Connection | str | None = None,
    fresh: bool = False,
    started_by: str | None = None,
    key: str = "",
    wait: bool = True,
) -> Training:
    """Calls a function in each worker of a training job.

    The function's parameter `context`, where it has one, is a `TrainingContext`: folders for checkpoints and logs, its
    rank, its data, its `tf.distribute` strategy. TF_CONFIG, the ring and the devices are set before it is
    called; under horovod mpirun starts it. Its source travels with all that it uses. Called again with the same
    function and arguments, a training that was killed goes on with the folder that it had left.

    Args:
        function: Made by `def`, in a notebook or a file.
        params: Its keyword arguments; plain values.
        workers: Replicas, the chief among them.
        strategy: `single`, `mirrored`, `multi_worker` or `horovod`; default `multi_worker` for several workers.
        data: Name -> `s3://` address, local path, or table (pandas, Polars, Arrow: kept in the store as Parquet); each
            worker has it as the path `context.data[name]`.
        name: What the training is called; default the function's name.
        overrides: Anything else: `{"training": {"resources": {"cpu": "4", "gpu": 1}}}`.
        here: This machine, though a Kubeflow is configured.
        kfp: A `shipway.connect()` or an address; None for what is configured, else this machine.
        fresh: Start anew.
        started_by, key: As `shipway.run` has them.
        wait: Wait for the end, and raise where the training failed.

    Raises:
        InvalidSpec: the function cannot travel, or not be called so: where, what, and what to do.
        JobFailed: the training failed, and `wait` is set.
    """
    connection = connected(kfp, here=here)
    source, about = packed(function, name, is_cluster=connection is not None)
    arguments = plain(mapping(params, "params", "a dict of the function's arguments"), "params")
    source.declared.check_names(arguments, "params")
    for parameter, value in arguments.items():
        source.declared.check_kind(parameter, value, f"params[{parameter!r}]")
    whole = about | {
        "params": arguments,
        "data": mapping(data, "data", "a dict of addresses, paths and tables by name"),
        "strategy": strategy or ("single" if workers in (0, 1) else "multi_worker"),
        "workers": workers,
        "overrides": sections(overrides),
    }
    run = runs.run(
        "train_function", whole, kfp=connection, here=connection is None, fresh=fresh, started_by=started_by, key=key
    )
    started = Training(run, source, about["origin"])
    return started.wait() if wait else started
