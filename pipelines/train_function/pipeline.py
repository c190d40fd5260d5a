"""A function of a person's own as a training job: one pipeline function, here and on a cluster."""

from kfp import dsl, kubernetes

from shipway.components.train.component import function as train
from shipway.pipelines.train_function.component import plan
from shipway.store_secret import use_store

MINUTE, DAY = 60, 24 * 3600


@dsl.pipeline(name="train-function", description="Train by a function of yours, with one or many workers.")
def train_function(
    name: str,
    function: str,
    code: str = "",
    params: dict = {},  # noqa: B006 - kfp reads the literal, nobody mutates it
    data: dict = {},  # noqa: B006
    strategy: str = "",
    workers: int = 0,
    preset: str = "default",
    overrides: dict = {},  # noqa: B006
    origin: dict = {},  # noqa: B006
):
    """Train by a function of yours, with one or many workers.

    Args:
        name: What the training is called.
        function: `module:name` in `code`, or `file.py:name` on this machine.
        code: Where the function lies: a wheel, a folder, or an `s3://` address; empty where it is installed.
        params: The function's keyword arguments.
        data: Name -> `s3://` address of a file or folder, which `context.data` has as a path.
        strategy: `single`, `mirrored`, `multi_worker` or `horovod`.
        workers: Replicas; 0 for the preset's.
        preset: Where the configuration starts from.
        overrides: Anything else, by section: `{"training": {"resources": {"gpu": 1}}}`.
        origin: Where the function comes from: versions, notebook, commit. Kept with the run.
    """
    planned = plan(
        name=name,
        function=function,
        code=code,
        params=params,
        data=data,
        strategy=strategy,
        workers=workers,
        preset=preset,
        overrides=overrides,
        origin=origin,
    )
    planned.set_display_name("Check the function").set_caching_options(False)
    trained = train(
        spec=planned.outputs["training"],
        data_fingerprint=planned.outputs["data_fingerprint"],
        code_fingerprint=planned.outputs["code_fingerprint"],
    )
    trained.set_display_name("Train").set_retry(num_retries=2, backoff_duration="10s")
    use_store(kubernetes.set_timeout(planned, 10 * MINUTE))
    use_store(kubernetes.set_timeout(trained, 7 * DAY))
