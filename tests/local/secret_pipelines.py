"""A pipeline of one's own that is given secrets."""

from kfp import dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def knock(password: str, address: str, breaks: bool) -> int:
    import logging

    print(f"knocked with {len(password)} characters")
    print(f"debug: {address} and {password}")
    logging.error("password is %s", password)
    if breaks:
        raise RuntimeError(f"the door did not open for {password} at {address}")
    return 1


@dsl.pipeline
def knocking(password: str, address: str = "", breaks: bool = False):
    knock(password=password, address=address, breaks=breaks)
