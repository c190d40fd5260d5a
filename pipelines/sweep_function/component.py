"""The plan task: the first of the pipeline, never cached."""

from typing import NamedTuple

from kfp import dsl

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def plan(
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
) -> NamedTuple("Plan", [("sweep", str), ("training", str), ("code_fingerprint", str)]):  # type: ignore[valid-type]
    """Check the function, its parameters and the whole configuration.

    Args:
        name: What the sweep is called.
        function: `module:name`.
        code: Where the function lies; empty where it is installed.
        space: Values of each parameter.
        objective: What to optimise; empty where the function gives a single metric.
        trials: How many at most; 0 for the whole grid, or the preset's.
        parallel: How many at once; 0 for the preset's.
        preset: File of `params/` beside this one to start from.
        overrides: Anything else, by section.
        origin: Where the function comes from; no step's work depends on it.

        sweep: SweepSpec, canonical JSON.
        training: TrainingSpec, canonical JSON: how trials run; it stands in the sweep too.
        code_fingerprint: Changes when the installed package or the code does.
    """
    given = dict(locals())
    from shipway.planning.step import plan_step

    return plan_step("sweep_function", given)
