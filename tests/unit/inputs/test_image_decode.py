"""Strange images: each gives the pixels that a reference gives, or is refused with its reason, and never a crash."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shipway.inputs.image.decode import decode
from shipway.inputs.image.headers import CUT, BadImage, read_header
from shipway.inputs.image.samples import png
from tests.fixtures.pictures import saved

HEIGHT, WIDTH = 24, 40
SMOOTH = np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3)
RGB = Image.fromarray(np.stack([SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]], axis=-1).astype(np.uint8))
ALPHA = Image.fromarray(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)))


def with_alpha(mode: str) -> Image.Image:
    image = RGB.convert("RGB" if mode == "RGBA" else "L").convert(mode)
    image.putalpha(ALPHA)
    return image


def palette(transparency: Any = None) -> bytes:
    image = RGB.quantize(16)
    return saved(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


def sixteen() -> Image.Image:
    return Image.fromarray((SMOOTH.astype(np.uint16) << 8) + 77)


def turned(orientation: int, format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(RGB, format, exif=exif, **({"quality": 95} if format == "JPEG" else {}))


def animated(format: str) -> bytes:
    frames = [RGB, RGB.rotate(90).resize(RGB.size), RGB.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return saved(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **LOSSLESS.get(format, {}))


def rgb16() -> bytes:
    """A PNG with 16 bits a channel, which Pillow does not write."""
    values = (np.asarray(RGB).astype(">u2") << 8).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
LOSSLESS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}}
GOOD = {
    "jpeg": saved(RGB, "JPEG", quality=90),
    "progressive jpeg": saved(RGB, "JPEG", progressive=True),
    "grey jpeg": saved(RGB.convert("L"), "JPEG"),
    "cmyk jpeg": saved(RGB.convert("CMYK"), "JPEG"),
    "jpeg with bytes behind it": saved(RGB, "JPEG") + b"\0" * 100 + b"trailer",
    "several pictures": saved(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)]),
    **{f"turned {way}": turned(way) for way in range(1, 9)},
    "turned png": turned(6, "PNG"),
    "turned webp": turned(8, "WEBP"),
    "turned beyond sense": turned(77),
    "png": saved(RGB, "PNG"),
    "rgba png": saved(with_alpha("RGBA"), "PNG"),
    "grey and alpha": saved(with_alpha("LA"), "PNG"),
    "palette": palette(),
    "palette, one colour clear": palette(3),
    "palette, each its own alpha": palette(bytes(range(0, 256, 16))),
    "one colour clear": saved(RGB, "PNG", transparency=(5, 5, 5)),
    "one bit": saved(RGB.convert("1"), "PNG"),
    "grey": saved(RGB.convert("L"), "PNG"),
    "16 bits of grey": saved(sixteen(), "PNG"),
    "16 bits of RGB": rgb16(),
    "webp": saved(RGB, "WEBP"),
    "lossless webp": saved(RGB, "WEBP", lossless=True),
    "rgba webp": saved(with_alpha("RGBA"), "WEBP"),
    "gif": saved(RGB, "GIF"),
    "animated gif": animated("GIF"),
    "animated webp": animated("WEBP"),
    "animated png": animated("PNG"),
    "one pixel": saved(RGB.crop((0, 0, 1, 1)), "PNG"),
    "one pixel jpeg": saved(RGB.crop((0, 0, 1, 1)), "JPEG"),
    "a line": saved(RGB.crop((0, 0, 40, 1)), "WEBP", lossless=True),
}


def reference(data: bytes) -> np.ndarray[Any, Any]:
    """The first frame in Pillow's own words, whole."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode.startswith("I"):
            shown = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
        else:
            turned = ImageOps.exif_transpose(image)
            rgba = turned.convert("RGBA")
            shown = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return np.asarray(shown)


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_an_image_in_order_gives_the_references_pixels(data: bytes) -> None:
    expected = reference(data)
    header = read_header(data)
    assert {header.width, header.height} == set(expected.shape[:2])
    found = decode(data, expected.shape[:2])
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)
    grey = decode(data, expected.shape[:2], channels=1)
    assert grey.shape == (*expected.shape[:2], 1)
    np.testing.assert_allclose(grey[..., 0], np.asarray(Image.fromarray(expected).convert("L")), atol=1)


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_at_another_size_it_is_the_references_within_a_few_shades(data: bytes) -> None:
    expected = np.asarray(Image.fromarray(reference(data)).resize((13, 9), Image.Resampling.BILINEAR)).astype(int)
    found = decode(data, (9, 13)).astype(int)
    assert found.shape == (9, 13, 3)
    assert np.abs(found - expected).mean() < 6


def test_a_large_jpeg_is_scaled_while_it_is_read_and_looks_the_same() -> None:
    large = RGB.resize((1600, 960), Image.Resampling.BICUBIC)
    data = saved(large, "JPEG", quality=90)
    expected = np.asarray(large.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode(data, 64).astype(int) - expected).max() < 6


BAD = {
    "nothing": (b"", "the file is empty"),
    "text": (b"a text\n", "no image but text; expected JPEG, PNG, WebP or GIF"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "a page": (b"<!DOCTYPE html><html>", "no image but a web page or XML"),
    "a drawing": (b'<?xml version="1.0"?><svg xmlns="">', "an SVG drawing"),
    "bmp": (saved(RGB, "BMP"), "a BMP image; expected JPEG"),
    "tiff": (saved(RGB, "TIFF"), "a TIFF image"),
    "pdf": (b"%PDF-1.7\n", "a PDF document"),
    "zip": (b"PK\3\4rest", "a zip archive"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image"),
    "noise": (bytes(range(256)), "no image that is known here"),
    "a mark alone": (b"\xff\xd8\xff", CUT),
    "png mark alone": (b"\x89PNG\r\n\x1a\n", CUT),
    "a bomb": (png(1, 1).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60_000, 60_000)), "checksum"),
    "12 bits": (GOOD["jpeg"].replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "12 bits a channel"),
    "lossless jpeg": (GOOD["jpeg"].replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11"), "a kind that is not read (SOF3)"),
    "damaged png": (GOOD["png"][:60] + bytes([GOOD["png"][60] ^ 1]) + GOOD["png"][61:], "the checksum of its chunk"),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD.keys())
def test_what_is_no_whole_image_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as refused:
        read_header(data)
    assert reason in str(refused.value)
    with pytest.raises(BadImage):
        decode(data, 8)


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "png", "webp", "lossless webp", "gif", "animated gif"])
def test_an_image_that_was_cut_anywhere_is_refused_by_its_structure(name: str) -> None:
    data = GOOD[name]
    whole = decode(data, 8)
    for end in range(1, len(data)):
        try:
            read_header(data[:end])
        except BadImage:
            continue
        # What is missing is then nothing of the first frame.
        np.testing.assert_array_equal(decode(data[:end], 8), whole, err_msg=f"cut at {end} of {len(data)}")


def test_a_bomb_is_refused_by_what_it_declares_before_it_is_read() -> None:
    data = png(300, 200)
    assert decode(data, 8, max_pixels=60_000).shape == (8, 8, 3)
    with pytest.raises(BadImage, match="more than 59,999 pixels"):
        decode(data, 8, max_pixels=59_999)
    huge = saved(Image.new("L", (1, 1)), "GIF")
    wide = huge[:6] + struct.pack("<HH", 65_535, 65_535) + huge[10:]
    with pytest.raises(BadImage, match="more than 50,000,000 pixels"):
        decode(wide, 8)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_whatever_bytes_are_changed_the_answer_is_pixels_or_a_reason(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(GOOD[name])
    for at, value in changes:
        # Half of the changes hit the headers, where they matter most.
        data[at % (len(data) if at % 2 else min(len(data), 64))] = value
    reason = reason_of(bytes(data[: len(data) - cut] if cut > 20 else data))
    assert reason is None or (reason and "\n" not in reason)


def reason_of(data: bytes) -> str | None:
    try:
        pixels = decode(data, 8, max_pixels=1_000_000)
    except BadImage as error:
        return str(error)
    assert pixels.shape == (8, 8, 3)
    return None
