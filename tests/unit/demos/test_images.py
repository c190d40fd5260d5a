"""The demo's scenes: the same files each time, with what they are tagged with, and some tags as often as others."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from shipway import demos
from shipway.demos.images import HEIGHT, LABELS, SHARE, THINGS, WIDTH, draw_scene, write_scenes


def test_the_same_arguments_give_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_scenes(tmp_path / name, 3, seed)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert [str(path) for path in files] == ["images/00000.jpg", "images/00001.jpg", "images/00002.jpg", LABELS]
    a, b, c = ([(tmp_path / name / path).read_bytes() for path in files] for name in "abc")
    assert a == b
    assert a != c
    with Image.open(tmp_path / "a" / files[0]) as image:
        assert (image.size, image.format) == ((WIDTH, HEIGHT), "JPEG")


def test_every_tag_is_about_as_frequent_and_some_scenes_have_none(tmp_path: Path) -> None:
    rows = pl.read_csv(write_scenes(tmp_path / "homes", 200)).fill_null("")
    tags = rows["label"].str.split("|")
    counts = dict(tags.explode().value_counts().iter_rows())
    assert set(counts) == {"", *THINGS}
    assert all(abs(counts[tag] / len(rows) - SHARE) < 0.12 for tag in THINGS)
    assert rows["path"].map_elements(lambda path: (tmp_path / "homes" / path).is_file(), pl.Boolean).all()


def test_a_tag_can_be_seen() -> None:
    """A pool is where the picture is bluer than the same picture would be without one."""
    scenes = [draw_scene(random.Random(f"seen/{number}")) for number in range(60)]
    blue = [np.asarray(image)[80:, :, 2].astype(int) - np.asarray(image)[80:, :, 0] for image, _ in scenes]
    has_pool = np.array(["Pool" in tags for _, tags in scenes])
    bluest = np.array([np.percentile(each, 99) for each in blue])
    assert bluest[has_pool].mean() > bluest[~has_pool].mean() + 20


def test_the_demo_runs_image_tagging() -> None:
    demo = demos.load("images")
    assert (demo.pipeline, demo.params["preset"]) == ("image_tagging", "demo")
    assert demo.data == "homes"
