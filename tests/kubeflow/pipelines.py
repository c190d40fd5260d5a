"""A pipeline that costs little: one step that waits, on Shipway's own image."""

from kfp import dsl

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def wait(seconds: int):
    import time

    from shipway.steps import step

    with step("wait") as current:
        time.sleep(seconds)
        current.output(waited=seconds)


@dsl.pipeline(name="kft-wait", description="Waits.")
def kft_wait(seconds: int = 1, name: str = ""):  # type: ignore[no-untyped-def]
    """Waits.

    Args:
        seconds: How long.
        name: Of whoever waits.
    """
    wait(seconds=seconds).set_display_name("Wait a while").set_caching_options(False)
