"""What the image recipes' encoder and model depend on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shipway.errors import InvalidSpec
from shipway.specs import Spec

Network = Literal["small", "inception_v1", "vgg19"]
# Below it a network's poolings leave nothing of an image.
SMALLEST: dict[str, int] = {"small": 8, "inception_v1": 32, "vgg19": 32}


class EncoderParams(Spec):
    """What the encoder depends on; a change encodes the dataset anew."""

    size: Annotated[int, Field(ge=8, le=1024, description="height and width in pixels that a model sees")] = 64
    channels: Annotated[Literal[1, 3], Field(description="3: colours; 1: grey")] = 3


class Params(Spec):
    """What the model and its training depend on; what a sweep may vary."""

    network: Annotated[Network, Field(description="what reads the image")] = "small"
    width: Annotated[int, Field(ge=4, le=512, description="filters of the small network's first block")] = 32
    normalise: Annotated[
        bool, Field(description="normalise groups of channels behind each convolution; the papers' tables have none")
    ] = True
    fully_connected: Annotated[
        bool, Field(description="VGG19's two layers of 4096 units, as in the paper; else the mean over places")
    ] = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="of one label an image; tags have none")] = 0.0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    decay: Annotated[
        Literal["constant", "cosine", "linear"], Field(description="how the learning rate ends: as it began, or at 0")
    ] = "cosine"
    flip: Annotated[
        Literal["none", "horizontal", "both"], Field(description="mirror half of the images in training")
    ] = "none"
    shift: Annotated[float, Field(ge=0, le=0.5, description="move by up to this share of a side")] = 0.1
    crop: Annotated[float, Field(ge=0, le=0.9, description="cut off up to this share of a side")] = 0.0
    rotate: Annotated[float, Field(ge=0, le=180, description="turn by up to so many degrees either way")] = 0.0
    brightness: Annotated[float, Field(ge=0, lt=1, description="lighten or darken by up to this share")] = 0.0


def check_size(params: Params, size: int) -> None:
    """Refuses images of which a network's poolings would leave nothing.

    Raises:
        InvalidSpec: names the size, the least that the network takes, and what to set.
    """
    least = SMALLEST[params.network]
    if size < least:
        raise InvalidSpec(
            (f"{params.network} takes images from {least} x {least} pixels, dataset.encoder.size is {size}"),
            field="training.params.network",
            fix=f"give a size from {least}, or network=small",
        )
