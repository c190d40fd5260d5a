"""How images are changed in training: as asked for, by step and not by chance, and not at all elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 12, 10, 3)).astype(np.float32)


def changed(
    step: int = 0, *, images: Any = IMAGES, training: bool = True, seed: int = 1, **params: Any
) -> NDArray[np.float32]:
    import tensorflow as tf

    from shipway.recipes.images.layers import Augment
    from shipway.recipes.images.params import Params

    layer = Augment(Params(**{"shift": 0.0, **params}), name="augment")
    layer.bind(tf.Variable(step, dtype=tf.int64), seed, 0, 0)
    result: NDArray[np.float32] = layer(tf.constant(images), training=training).numpy()
    return result


def test_what_is_not_asked_for_changes_nothing() -> None:
    assert np.array_equal(changed(), IMAGES)
    everything = {"flip": "both", "shift": 0.3, "crop": 0.3, "rotate": 20.0, "brightness": 0.5}
    assert np.array_equal(changed(training=False, **everything), IMAGES)


def test_a_step_draws_the_same_again_and_another_step_or_seed_something_else() -> None:
    asked = {"flip": "horizontal", "shift": 0.2, "crop": 0.2, "rotate": 10.0, "brightness": 0.3}
    once = changed(7, **asked)
    assert np.array_equal(once, changed(7, **asked))
    assert not np.array_equal(once, changed(8, **asked))
    assert not np.array_equal(once, changed(7, seed=2, **asked))


def test_mirrored_images_are_exact_and_about_half_of_all() -> None:
    found = changed(flip="horizontal")
    is_mirrored = np.array([np.array_equal(one, image[:, ::-1]) for one, image in zip(found, IMAGES, strict=True)])
    is_same = np.array([np.array_equal(one, image) for one, image in zip(found, IMAGES, strict=True)])
    assert (is_mirrored | is_same).all()
    assert 16 < is_mirrored.sum() < 48
    found = changed(flip="both")
    kinds = {
        (vertical, horizontal)
        for one, image in zip(found, IMAGES, strict=True)
        for vertical in (1, -1)
        for horizontal in (1, -1)
        if np.array_equal(one, image[::vertical, ::horizontal])
    }
    assert len(kinds) == 4


def test_a_shift_moves_no_further_than_its_share_and_a_crop_shows_a_part() -> None:
    ramp = np.broadcast_to(10 * np.arange(10, dtype=np.float32)[None, None, :, None], IMAGES.shape)
    moved = np.abs(changed(images=ramp, shift=0.2)[:, 6, 5, 0] - 50.0)
    assert 10.0 < moved.max() <= 20.0 + 1e-3
    shown = np.diff(changed(images=ramp, crop=0.5)[:, 6, 4:6, 0], axis=1)  # how much of the ramp one pixel spans
    assert 5.0 - 1e-3 <= shown.min() < 7.0
    assert shown.max() <= 10.0 + 1e-3


def test_light_stays_within_what_a_pixel_can_hold() -> None:
    found = changed(brightness=0.5)
    factor = found.mean(axis=(1, 2, 3)) / IMAGES.mean(axis=(1, 2, 3))
    assert factor.min() > 0.49
    assert factor.max() < 1.5
    assert factor.std() > 0.1
    assert found.max() <= 255.0
