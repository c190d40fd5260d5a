"""The plan task: the first of the pipeline, never cached."""

from typing import NamedTuple

from kfp import dsl

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def plan(
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
) -> NamedTuple(  # type: ignore[valid-type]
    "Plan", [("training", str), ("data_fingerprint", str), ("code_fingerprint", str)]
):
    """Check the function, its arguments and the whole configuration.

    Args:
        name: What the training is called.
        function: `module:name`.
        code: Where the function lies; empty where it is installed.
        params: The function's keyword arguments.
        data: Name -> address of a file or folder.
        strategy: `single`, `mirrored`, `multi_worker` or `horovod`; empty for the preset's.
        workers: Replicas; 0 for the preset's.
        preset: File of `params/` beside this one to start from.
        overrides: Anything else, by section.
        origin: Where the function comes from; no step's work depends on it.

        training: FunctionSpec, canonical JSON.
        data_fingerprint: Changes when the bytes behind `data` do; empty without data.
        code_fingerprint: Changes when the installed package or the code does.
    """
    given = dict(locals())
    from shipway.planning.step import plan_step

    return plan_step("train_function", given)
