"""Small pipelines that the tests of local runs play."""

from kfp import dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: int = 1) -> int:
    print(f"adding {b} to {a}")
    return a + b


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def hang(a: int, marker: str) -> int:
    import os
    import pathlib
    import time

    pathlib.Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)
    return a


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def launch_and_hang(a: int, marker: str) -> int:
    import os
    import pathlib
    import time

    from shipway.steps import step

    with step("launch-and-hang") as current:
        current.job("some-job", on_cancel=lambda: pathlib.Path(marker + ".cancelled").write_text("yes"))
        pathlib.Path(marker).write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)
    return a


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def refuse(a: int) -> int:
    from shipway.errors import InvalidSpec
    from shipway.steps import step

    with step("refuse"):
        raise InvalidSpec(f"a: got {a}, expected less")
    return a


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def count_and_refuse(marker: str) -> int:
    import pathlib

    from shipway.errors import InvalidSpec
    from shipway.steps import step

    with step("refuse"):
        with pathlib.Path(marker).open("a") as file:
            file.write("x")
        raise InvalidSpec("a: mend it")
    return 1


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def flaky(marker: str) -> int:
    import pathlib

    seen = pathlib.Path(marker)
    if not seen.exists():
        seen.write_text("once")
        raise RuntimeError("only the second time")
    return 1


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def finish_when_told_to_stop(marker: str) -> int:
    import pathlib
    import signal
    import time

    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    pathlib.Path(marker).write_text("here")
    while not told:
        time.sleep(0.02)
    return 1


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def host(given: dict) -> str:
    import json

    print(json.dumps(given, sort_keys=True))
    return json.dumps(given)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def leave() -> int:
    import sys

    from shipway.steps import step

    with step("leave"):
        sys.exit()
    return 1


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def vanish(within_a_step: bool):
    import contextlib
    import os

    from shipway.steps import step

    with step("vanish") if within_a_step else contextlib.nullcontext():
        os._exit(0)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def leave_early():
    import sys

    sys.exit(0)


@dsl.pipeline
def vanishing(within_a_step: bool):
    vanish(within_a_step=within_a_step)


@dsl.pipeline
def leaving_early():
    leave_early()


@dsl.pipeline
def finishing(marker: str):
    finish_when_told_to_stop(marker=marker)


@dsl.pipeline
def hosting(given: dict = {}):  # noqa: B006
    host(given=given)


@dsl.pipeline
def leaving():
    leave()


@dsl.pipeline
def looping(items: list):
    with dsl.ParallelFor(items) as item:
        add(a=item)


@dsl.pipeline
def chain(start: int = 0, label: str = "x"):
    first = add(a=start)
    second = add(a=first.output)
    with dsl.If(second.output > 100, name="big"):
        add(a=second.output, b=1000)


@dsl.pipeline
def hanging(marker: str, start: int = 0):
    hang(a=add(a=start).output, marker=marker)


@dsl.pipeline
def launching(marker: str, start: int = 0):
    launch_and_hang(a=add(a=start).output, marker=marker)


@dsl.pipeline
def refusing(start: int = 0):
    refuse(a=add(a=start).output)


@dsl.pipeline
def failing_once(marker: str, start: int = 0):
    flaky(marker=marker).after(add(a=start))


@dsl.pipeline
def retried_once(marker: str):
    flaky(marker=marker).set_retry(num_retries=2, backoff_duration="600s")


@dsl.pipeline
def refused_with_retries(marker: str):
    count_and_refuse(marker=marker).set_retry(num_retries=3)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def kill_me() -> int:
    import os
    import signal

    print("{\n}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def fill(folder: str) -> int:
    import pathlib

    with (pathlib.Path(folder) / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    return 1


@dsl.pipeline
def killed():
    kill_me()


@dsl.pipeline
def filling(folder: str):
    fill(folder=folder)
