"""What the image recipes' encoder keeps and gives, and how their model learns from it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shipway.errors import CorruptArtifact, InvalidData, InvalidSpec
from shipway.inputs import BadRequest
from shipway.recipes import Recipe, load_recipe
from shipway.recipes.base import ChecksParams, Packs

LABELS = {"images": ["pool", "garden", "pool"], "image_tags": ['["Pool"]', "[]", '["Balcony", "Pool"]']}
CLASSES = {"images": ["garden", "pool"], "image_tags": ["Balcony", "Pool"]}


def picture(shade: int, side: int = 12) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def fitted(name: str, **params: Any) -> tuple[Recipe, Any]:
    recipe = load_recipe(name)
    frame = pl.DataFrame({"image": [picture(shade) for shade in (0, 100, 200)], "label": LABELS[name]})
    return recipe, recipe.fit_encoder([frame[:2], frame[2:]], recipe.EncoderParams(**params))


@pytest.mark.parametrize("name", sorted(LABELS))
def test_an_encoder_knows_the_names_and_survives_being_written_down(name: str) -> None:
    recipe, encoder = fitted(name, size=8, channels=1)
    assert encoder.labels == CLASSES[name]
    again = recipe.load_encoder(encoder.to_document())
    assert (again.to_document(), again.features) == (encoder.to_document(), encoder.features)
    assert again.features["image"].shape == [8, 8, 1]
    with pytest.raises(CorruptArtifact, match="format 2"):
        recipe.load_encoder({**encoder.to_document(), "format": 2})
    with pytest.raises(InvalidData, match="no rows"):
        recipe.fit_encoder([], recipe.EncoderParams())


def test_records_hold_files_and_give_the_same_pixels() -> None:
    _, encoder = fitted("images", size=16)
    assert isinstance(encoder, Packs)
    files = [picture(7), picture(250, side=40)]
    pixels = encoder.encode(files)["image"]
    assert isinstance(pixels, np.ndarray)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (2, 16, 16, 3))
    assert (pixels.min(axis=(1, 2, 3)).tolist(), pixels.max(axis=(1, 2, 3)).tolist()) == ([7, 250], [7, 250])
    assert np.array_equal(encoder.unpack(encoder.pack(files), ["image"])["image"], pixels)
    with pytest.raises(BadRequest):
        encoder.encode([files[0][:60]])


def test_a_network_that_does_not_fit_the_size_is_told_before_anything_runs() -> None:
    recipe = load_recipe("images")
    assert isinstance(recipe, ChecksParams)
    recipe.check_params(recipe.Params(network="vgg19"), recipe.EncoderParams(size=32))
    with pytest.raises(InvalidSpec, match="network=small"):
        recipe.check_params(recipe.Params(network="inception_v1"), recipe.EncoderParams(size=24))


@pytest.mark.heavy
@pytest.mark.xdist_group("tensorflow")
def test_a_model_learns_light_from_dark_and_draws_by_step() -> None:
    import tf_keras

    from shipway.recipes.layers import bind_steps

    recipe, encoder = fitted("images", size=8)
    params = recipe.Params(width=4, learning_rate=0.02, brightness=0.3)
    tf_keras.utils.set_random_seed(0)
    model = recipe.build_model(params, encoder)
    recipe.compile_model(model, params, total_steps=30)
    bind_steps(model, 3, 0)
    pixels = {"image": encoder.encode([picture(shade) for shade in range(0, 250, 10)])["image"]}
    is_light = np.arange(25) > 12

    def drawn(step: int) -> Any:
        model.optimizer.iterations.assign(step)
        return model(pixels, training=True).numpy()

    assert np.array_equal(drawn(5), drawn(5))
    assert not np.array_equal(drawn(5), drawn(6))
    model.optimizer.iterations.assign(0)
    model.fit(pixels, is_light.astype(np.int64), epochs=30, batch_size=25, verbose=0)
    found = model(pixels, training=False).numpy().argmax(axis=1)
    assert ((found > 0) == is_light).mean() > 0.9
