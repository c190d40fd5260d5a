"""Images, built once a session and run as a cluster runs them. `make images-test`; not part of `make test`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.images import archives, builds, containers
from tools.images.engines import Engine, engine

Run = Callable[[str], containers.Container]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "images" in config.option.markexpr:
        return
    asked = [item for item in items if item.get_closest_marker("images") is None]
    if len(asked) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("images")])
        items[:] = asked


@pytest.fixture(scope="session")
def buildah() -> Engine:
    """buildah, or a skip that nobody overlooks."""
    lacking = containers.why_not()
    if lacking:
        pytest.skip(f"IMAGES ARE NOT TESTED: {lacking}; they need root, buildah, runc (and debootstrap without a BASE)")
    return engine("buildah")


@pytest.fixture(scope="session")
def base_image(buildah: Engine) -> str:
    """$BASE or images/base.env, else the stand-in."""
    return archives.base_here()


@pytest.fixture(scope="session")
def tag_of(buildah: Engine, base_image: str) -> Callable[[str], str]:
    """An image's name -> its reference, built from the tree as it stands."""
    built: dict[str, str] = {}

    def build(name: str) -> str:
        if name not in built:
            built[name] = builds.build(name, given_base=base_image, with_engine=buildah)
        return built[name]

    return build


@pytest.fixture(scope="session")
def image(buildah: Engine, tag_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """An image's name -> its root, ready to run in."""
    with ExitStack() as stack:
        mounted: dict[str, containers.Container] = {}

        def open_image(name: str) -> containers.Container:
            if name not in mounted:
                bundle = Path(tmp_path_factory.mktemp(name))
                mounted[name] = stack.enter_context(containers.container(buildah, tag_of(name), bundle))
            return mounted[name]

        yield open_image
