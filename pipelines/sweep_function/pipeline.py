"""A sweep over a function of a person's own: one pipeline function, here and on a cluster."""

from kfp import dsl, kubernetes

from shipway.components.sweep.component import function as search
from shipway.pipelines.sweep_function.component import plan
from shipway.store_secret import use_store

MINUTE, DAY = 60, 24 * 3600


@dsl.pipeline(name="sweep-function", description="Find the parameters with which a function of yours does best.")
def sweep_function(
    name: str,
    function: str,
    code: str = "",
    space: dict = {},  # noqa: B006 - kfp reads the literal, nobody mutates it
    objective: str = "",
    trials: int = 0,
    parallel: int = 0,
    preset: str = "default",
    overrides: dict = {},  # noqa: B006
    origin: dict = {},  # noqa: B006
):
    """Find the parameters with which a function of yours does best.

    Args:
        name: What the sweep is called.
        function: `module:name` in `code`, or `file.py:name` on this machine.
        code: Where the function lies: a wheel, a folder, or an `s3://` address; empty where it is installed.
        space: Values of each parameter: a list, or text such as `uniform(0, 0.5)` and `loguniform(1e-4, 1e-2)`.
        objective: `maximize accuracy`, `minimize loss`; empty where the function gives a single metric.
        trials: How many at most; 0 for the whole grid, or the preset's.
        parallel: How many at once; 0 for the preset's.
        preset: Where the configuration starts from.
        overrides: Anything else, by section: `{"sweep": {"earlyStopping": "medianstop"}}`.
        origin: Where the function comes from: versions, notebook, commit. Kept with the run.
    """
    planned = plan(
        name=name,
        function=function,
        code=code,
        space=space,
        objective=objective,
        trials=trials,
        parallel=parallel,
        preset=preset,
        overrides=overrides,
        origin=origin,
    )
    planned.set_display_name("Check the function").set_caching_options(False)
    swept = search(spec=planned.outputs["sweep"], code_fingerprint=planned.outputs["code_fingerprint"])
    swept.set_display_name("Search its parameters").set_retry(num_retries=2, backoff_duration="10s")
    use_store(kubernetes.set_timeout(planned, 10 * MINUTE))
    use_store(kubernetes.set_timeout(swept, 7 * DAY))
