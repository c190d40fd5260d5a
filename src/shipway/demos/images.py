"""The demo's data: photographs of homes that were never taken, drawn with what they are tagged with.

Each scene has a sky, a ground and a wall; a tag draws its thing, and now and then something else that looks like it
from afar stands there instead: a band of haze is no sea, a fence no balcony, a blue sheet no pool. Shape tells them
apart, which a thumbnail has lost.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from PIL import ImageDraw

SCENES = 1000
WIDTH, HEIGHT = 160, 120
FINER = 2  # drawn so many times larger, so that edges are smooth
LABELS = "labels.csv"
SHARE = 0.32  # of scenes that have a tag
LOOKALIKES = 0.3  # of the scenes without a tag: they show what it may be mistaken for
QUALITY = 85
SKIES = (((90, 150, 220), (190, 220, 245)), ((230, 120, 80), (250, 210, 150)), ((120, 125, 135), (190, 192, 198)),
         ((20, 25, 60), (70, 70, 110)))  # fmt: skip
GROUNDS = ((95, 140, 70), (190, 170, 120), (130, 130, 130), (110, 90, 60), (70, 110, 60))
WALLS = ((225, 215, 195), (180, 90, 70), (240, 240, 240), (90, 130, 170), (200, 180, 90), (150, 110, 80))

Colour = tuple[int, int, int]


class Scene:
    """One picture while it is drawn; places are shares of its width and height."""

    def __init__(self, pen: random.Random) -> None:
        from PIL import Image, ImageDraw

        self.random = pen
        self.width, self.height = WIDTH * FINER, HEIGHT * FINER
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw: ImageDraw.ImageDraw = ImageDraw.Draw(self.image)
        self.horizon = pen.uniform(0.42, 0.58)
        self.wall_left = pen.random() < 0.5
        self.wall_width = pen.uniform(0.3, 0.42)

    def between(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def near(self, colour: Colour, spread: int = 22) -> Colour:
        """A colour like that one."""
        light = self.random.randint(-spread, spread)
        red, green, blue = (max(0, min(255, each + light + self.random.randint(-8, 8))) for each in colour)
        return red, green, blue

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.draw.rectangle(self._pixels(left, top, right, bottom), fill=colour)

    def oval(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.draw.ellipse(self._pixels(left, top, right, bottom), fill=colour)

    def shape(self, places: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([(x * self.width, y * self.height) for x, y in places], fill=colour)

    def line(self, places: list[tuple[float, float]], colour: Colour, width: float = 0.006) -> None:
        points = [(x * self.width, y * self.height) for x, y in places]
        self.draw.line(points, fill=colour, width=max(1, round(width * self.width)))

    def _pixels(self, left: float, top: float, right: float, bottom: float) -> list[float]:
        return [left * self.width, top * self.height, right * self.width, bottom * self.height]

    def wall_at(self, share: float) -> float:
        """A place across the house's wall."""
        return share * self.wall_width if self.wall_left else 1 - self.wall_width + share * self.wall_width

    def free_at(self, share: float) -> float:
        """A place across what the wall leaves of the picture."""
        start = self.wall_width if self.wall_left else 0.0
        return start + share * (1 - self.wall_width)


def _backdrop(scene: Scene) -> None:
    top, bottom = (scene.near(colour) for colour in scene.random.choice(SKIES))
    for row in range(20):
        part = row / 19
        colour = tuple(round(a + (b - a) * part) for a, b in zip(top, bottom, strict=True))
        scene.box(0, scene.horizon * row / 20, 1, scene.horizon * (row + 1) / 20, (colour[0], colour[1], colour[2]))
    scene.box(0, scene.horizon, 1, 1, scene.near(scene.random.choice(GROUNDS)))


def _house(scene: Scene) -> None:
    left, right, top = scene.wall_at(0), scene.wall_at(1), scene.between(0.08, 0.2)
    scene.box(left, top, right, scene.between(0.78, 0.86), scene.near(scene.random.choice(WALLS)))
    glass = scene.near((70, 85, 105))
    for x in (0.2, 0.6):
        for y in (top + 0.06, top + 0.36):
            if scene.random.random() < 0.75:
                scene.box(scene.wall_at(x), y, scene.wall_at(x + 0.22), y + 0.13, glass)


def _sea(scene: Scene) -> None:
    water, depth = scene.near((40, 110, 150)), scene.between(0.09, 0.15)
    scene.box(0, scene.horizon - depth, 1, scene.horizon, water)
    for _ in range(16):
        x, y = scene.between(0, 0.95), scene.horizon - scene.between(0.01, depth - 0.01)
        scene.line([(x, y), (x + scene.between(0.04, 0.09), y)], scene.near((215, 232, 240), 10), 0.008)


def _haze(scene: Scene) -> None:
    depth = scene.between(0.09, 0.15)
    scene.box(0, scene.horizon - depth, 1, scene.horizon, scene.near((70, 125, 160)))


def _mountains(scene: Scene) -> None:
    stone, x = scene.near((105, 105, 115)), scene.between(-0.1, 0.05)
    while x < 1:
        half, peak = scene.between(0.1, 0.2), scene.horizon - scene.between(0.16, 0.3)
        foot = scene.horizon
        scene.shape([(x, foot), (x + half, peak), (x + 2 * half, foot)], stone)
        cap = 0.3
        scene.shape(
            [(x + half * (1 - cap), peak + (foot - peak) * cap), (x + half, peak),
             (x + half * (1 + cap), peak + (foot - peak) * cap)], scene.near((240, 242, 248), 8),
        )  # fmt: skip
        x += half * scene.between(1.2, 1.9)


def _clouds(scene: Scene) -> None:
    for _ in range(4):
        x, y = scene.between(0, 0.9), scene.horizon - scene.between(0.1, 0.3)
        for _ in range(4):
            shift = scene.between(-0.05, 0.05)
            scene.oval(x + shift, y, x + shift + 0.14, y + 0.07, scene.near((215, 215, 222), 12))


def _pool(scene: Scene) -> None:
    x, y = scene.free_at(scene.between(0.08, 0.35)), scene.between(0.7, 0.78)
    width, height = scene.between(0.26, 0.34), scene.between(0.11, 0.15)
    scene.oval(x - 0.02, y - 0.02, x + width + 0.02, y + height + 0.02, scene.near((235, 230, 220), 10))
    scene.oval(x, y, x + width, y + height, scene.near((60, 180, 205)))
    for step in (0.35, 0.65):
        places = [
            (x + width * (0.2 + part * 0.06), y + height * step + 0.008 * math.sin(part * 2)) for part in range(11)
        ]
        scene.line(places, scene.near((190, 235, 240), 10), 0.004)


def _sheet(scene: Scene) -> None:
    x, y = scene.free_at(scene.between(0.08, 0.35)), scene.between(0.7, 0.78)
    width, height, slant = scene.between(0.24, 0.32), scene.between(0.1, 0.15), scene.between(0.02, 0.08)
    scene.shape(
        [(x + slant, y), (x + width + slant, y), (x + width, y + height), (x, y + height)], scene.near((70, 170, 200))
    )


def _rails(scene: Scene, left: float, right: float, top: float, bottom: float) -> None:
    colour = scene.near((60, 60, 65))
    count = max(5, round((right - left) / 0.026))
    for number in range(count + 1):
        x = left + (right - left) * number / count
        scene.line([(x, top), (x, bottom)], colour)
    scene.line([(left, top), (right, top)], colour, 0.01)


def _balcony(scene: Scene) -> None:
    left, right = sorted((scene.wall_at(scene.between(0.0, 0.1)), scene.wall_at(scene.between(0.8, 1.0))))
    floor = scene.between(0.46, 0.56)
    scene.box(left - 0.02, floor, right + 0.02, floor + 0.03, scene.near((170, 168, 165)))
    _rails(scene, left - 0.02, right + 0.02, floor - 0.12, floor)


def _fence(scene: Scene) -> None:
    foot = scene.between(0.66, 0.72)
    _rails(scene, scene.free_at(0.0), scene.free_at(scene.between(0.8, 1.0)), foot - 0.12, foot)


def _garden(scene: Scene) -> None:
    for _ in range(scene.random.randint(2, 4)):
        x, foot, size = scene.free_at(scene.between(0, 0.85)), scene.between(0.6, 0.72), scene.between(0.1, 0.16)
        scene.box(x + size * 0.42, foot - size, x + size * 0.58, foot, scene.near((90, 65, 40)))
        scene.oval(x, foot - 2.2 * size, x + size, foot - size * 0.7, scene.near((50, 115, 50)))
    for _ in range(18):
        x, y = scene.free_at(scene.between(0, 0.95)), scene.between(0.72, 0.95)
        scene.oval(x, y, x + 0.014, y + 0.018, scene.random.choice([(220, 60, 80), (240, 200, 60), (235, 235, 240)]))


def _hedge(scene: Scene) -> None:
    top = scene.between(0.5, 0.56)
    scene.box(scene.free_at(0), top, scene.free_at(1), top + scene.between(0.12, 0.18), scene.near((50, 105, 50)))


# Tag -> what draws it, what draws its lookalike, and whether it stands behind the house.
THINGS: dict[str, tuple[Callable[[Scene], None], Callable[[Scene], None], bool]] = {
    "Mountains": (_mountains, _clouds, True),
    "Sea view": (_sea, _haze, True),
    "Garden": (_garden, _hedge, False),
    "Balcony": (_balcony, _fence, False),
    "Pool": (_pool, _sheet, False),
}


def draw_scene(pen: random.Random) -> tuple[Any, list[str]]:
    """One scene and its tags, sorted.

    Returns:
        A PIL image of WIDTH x HEIGHT, and the tags.
    """
    from PIL import Image

    scene = Scene(pen)
    _backdrop(scene)
    tags: list[str] = []
    is_built = False
    for tag, (thing, lookalike, is_behind) in THINGS.items():
        if not is_behind and not is_built:
            _house(scene)
            is_built = True
        if pen.random() < SHARE:
            tags.append(tag)
            thing(scene)
        elif pen.random() < LOOKALIKES:
            lookalike(scene)
    return scene.image.resize((WIDTH, HEIGHT), Image.Resampling.BOX), sorted(tags)


def write_scenes(folder: Path, scenes: int = SCENES, seed: int = 0) -> Path:
    """Draws scenes as JPEG files beside a `labels.csv` of `path,label`, tags with `|` between them.

    Args:
        folder: To make; the same arguments give the same files.
        scenes: How many.
        seed: Another seed is other scenes.

    Returns:
        The labels' file.
    """
    (folder / "images").mkdir(parents=True)
    labels = folder / LABELS
    with labels.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label"))
        for number in range(scenes):
            image, tags = draw_scene(random.Random(f"{seed}/{number}"))
            name = f"images/{number:05d}.jpg"
            image.save(folder / name, quality=QUALITY)
            writer.writerow((name, "|".join(tags)))
    return labels


class Images:
    """The demo of the image recipes."""

    about = "homes with what their pictures show, from a folder of images to an endpoint that names it."
    pipeline = "image_tagging"
    data = "homes"
    params: ClassVar[dict[str, Any]] = {"name": "home-tags", "preset": "demo"}

    def write(self, path: Path) -> None:
        """A folder of scenes with their labels."""
        write_scenes(path)


demo = Images()
