"""Ten trivial steps, one behind the other."""

from kfp import dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int) -> int:
    return a + 1


@dsl.pipeline
def ten_steps(start: int = 0):
    total = add(a=start)
    total.set_caching_options(False)
    for _ in range(9):
        total = add(a=total.output)
        total.set_caching_options(False)
