"""Thumbnails tell apart what colours alone tell apart, on the scales of the training rows."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from shipway.inputs import load_input
from shipway.inputs.base import GivesFeatures
from shipway.inputs.image.thumbnails import LENGTH
from shipway.tasks import load_task


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Crops of scikit-learn's two photographs, as JPEG files: a temple in China, and a flower."""
    pen = np.random.default_rng(0)
    files, labels = [], []
    for _ in range(60):
        for photo, tags in zip(load_sample_images().images, ('["Temple"]', '["Flower", "Garden"]'), strict=True):
            top, left = (int(pen.integers(0, side - 160)) for side in photo.shape[:2])
            file = io.BytesIO()
            Image.fromarray(photo[top : top + 160, left : left + 160]).save(file, "JPEG")
            files.append(file.getvalue())
            labels.append(tags)
    return pl.DataFrame({"image": files, "label": labels})


def test_features_have_one_scale_which_others_share(rows: pl.DataFrame) -> None:
    kind = load_input("image")
    assert isinstance(kind, GivesFeatures)
    features, transform = kind.fit_features(rows[:60])
    assert features.shape == (60, 16 * 16 * 3)
    assert np.sqrt(features.power(2).sum(axis=1).mean()) == pytest.approx(LENGTH, rel=1e-3)
    assert abs(features.toarray().mean(axis=0)).max() < 1e-9
    assert np.array_equal(transform(rows[:5]).toarray(), features.toarray()[:5])
    assert transform(rows[:0]).shape == (0, 16 * 16 * 3)


def test_the_linear_baseline_of_tags_learns_from_them(rows: pl.DataFrame) -> None:
    baseline = load_task("tagging").evaluation.fit_baseline("linear", load_input("image"), rows[:100], 0)
    assert baseline is not None
    named = baseline.predict([rows[100:]])["predicted"]
    truth = rows["label"][100:].str.json_decode(pl.List(pl.String))
    same = [set(one) == set(other) for one, other in zip(named, truth, strict=True)]
    assert sum(same) >= 0.8 * len(same)
