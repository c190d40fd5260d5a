"""The networks hold what their papers' tables say: weights and shapes, layer by layer."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

CLASSES = 1000
# Szegedy et al. 2015, table 1: what each part gives, height x width x channels.
INCEPTION_SHAPES = {
    "conv1": (112, 112, 64), "pool1": (56, 56, 64), "conv2": (56, 56, 192), "pool2": (28, 28, 192),
    "3a": (28, 28, 256), "3b": (28, 28, 480), "pool3": (14, 14, 480), "4a": (14, 14, 512), "4b": (14, 14, 512),
    "4c": (14, 14, 512), "4d": (14, 14, 528), "4e": (14, 14, 832), "pool4": (7, 7, 832), "5a": (7, 7, 832),
    "5b": (7, 7, 1024), "features": (1024,),
}  # fmt: skip
VGG_SHAPES = {
    "pool1": (112, 112, 64), "pool2": (56, 56, 128), "pool3": (28, 28, 256), "pool4": (14, 14, 512),
    "pool5": (7, 7, 512), "flat": (25088,), "fc7": (4096,),
}  # fmt: skip


def built(network: str, size: int = 224, classes: int = CLASSES, **params: Any) -> Any:
    from shipway.recipes.images.model import build
    from shipway.recipes.images.params import Params

    return build(Params(network=network, **params), (size, size, 3), classes)


def shapes(model: Any, names: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(model.get_layer(name).output.shape[1:]) for name in names}


def weights(inputs: int, filters: int, size: int) -> int:
    """Of a convolution, its biases among them."""
    return (inputs * size * size + 1) * filters


def in_table(inputs: int, table: Any) -> int:
    """Weights of Inception's modules, from the table's numbers of filters alone."""
    total = 0
    for row in filter(None, table.values()):
        alone, reduce_3, of_3, reduce_5, of_5, projection = row
        total += sum(weights(inputs, filters, 1) for filters in (alone, reduce_3, reduce_5, projection))
        total += weights(reduce_3, of_3, 3) + weights(reduce_5, of_5, 5)
        inputs = alone + of_3 + of_5 + projection
    return total


def test_inception_v1_is_the_papers_table() -> None:
    from shipway.recipes.images.networks.inception_v1 import TABLE

    model = built("inception_v1", normalise=False)
    assert shapes(model, INCEPTION_SHAPES) == INCEPTION_SHAPES
    stem = weights(3, 64, 7) + weights(64, 64, 1) + weights(64, 192, 3)
    assert model.count_params() == stem + in_table(192, TABLE) + (1024 + 1) * CLASSES == 6_998_552


def test_vgg19_is_the_papers_configuration_e() -> None:
    model = built("vgg19", normalise=False, fully_connected=True)
    assert shapes(model, VGG_SHAPES) == VGG_SHAPES
    assert sum("relu" not in layer.name and bool(layer.weights) for layer in model.layers) == 19
    assert model.count_params() == 143_667_240  # the paper's table 2 says 144 million


def test_networks_take_other_sizes_and_classes() -> None:
    convolutions = 143_667_240 - (25088 + 1) * 4096 - (4096 + 1) * 4096 - (4096 + 1) * CLASSES
    assert built("vgg19", 32, 5, normalise=False).count_params() == convolutions + (512 + 1) * 5
    assert built("inception_v1", 32, 5).output.shape[1:] == (5,)
    for size, blocks in ((8, 2), (16, 3), (64, 4)):
        model = built("small", size, 5, width=4)
        assert model.get_layer("features").output.shape[1:] == (2 * 4 * 2 ** (blocks - 1),), size


def test_an_image_too_small_for_a_network_is_refused_with_what_to_set() -> None:
    from shipway.errors import InvalidSpec

    with pytest.raises(InvalidSpec, match=r"vgg19 takes images from 32 x 32 pixels.*size is 16; give a size from 32"):
        built("vgg19", 16)
