"""An image file's bytes to pixels. NumPy and Pillow alone: the same code in training, evaluation and the predictor."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shipway.inputs.image.headers import MAX_PIXELS, BadImage, read_header

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")  # Pillow tries no other reader: fewer parsers that meet a stranger's bytes
ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
# Of damaged EXIF, which is read as far as it goes; nothing that a reader of a predictor's log could mend.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decode(
    data: bytes, size: int | tuple[int, int], channels: int = 3, *, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """The pixels of a JPEG, PNG, WebP or GIF file at one size, as a person sees them.

    EXIF rotation is applied; transparent pixels show white; CMYK, palettes, grey and 16 bits become 8-bit RGB (16 bits
    lose their low byte); of an animation the first frame counts. Colour profiles are ignored. The image is stretched to
    the size: a JPEG much larger than that is scaled by a power of two while it is read (never below twice the size),
    others by whole boxes, then what is left is interpolated linearly over all pixels that a new one covers.

    Args:
        data: The file.
        size: Height and width of the result; one number for both.
        channels: 3 for RGB, 1 for grey.
        max_pixels: An image that declares more is refused before it is read.

    Returns:
        uint8, shape (height, width, channels).

    Raises:
        BadImage: the bytes are no image that can be read whole; its message is the reason.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    height, width = (size, size) if isinstance(size, int) else size
    read_header(data, max_pixels)
    try:
        pixels = _pixels(data, width, height, "RGB" if channels == 3 else "L")
    except MemoryError:
        raise
    except Exception as error:  # what Pillow raises over damaged bytes is of a dozen kinds
        raise BadImage(_reason(error)) from error
    return pixels.reshape(height, width, channels)


def _pixels(data: bytes, width: int, height: int, mode: str) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        orientation = _orientation(image)
        size = (height, width) if orientation >= 5 else (width, height)  # as the file has it, before it is turned
        image.draft(None, (2 * size[0], 2 * size[1]))  # does nothing but for JPEG
        image.load()
        shown = _in_colours(image, mode)
    scaled = shown.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0) if shown.size != size else shown
    if scaled.mode == "RGBA":
        white = Image.new("RGBA", size, (255, 255, 255, 255))
        scaled = Image.alpha_composite(white, scaled)
    turned = _turned(scaled, orientation)
    return np.asarray(turned if turned.mode == mode else turned.convert(mode), dtype=np.uint8)


def _in_colours(image: Image.Image, mode: str) -> Image.Image:
    """The image with 8 bits a channel: grey, RGB, or RGBA where something is transparent."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey
        wide = np.asarray(image).astype(np.int64).clip(0, 0xFFFF)
        return Image.fromarray((wide >> 8).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF's way to hold the image, 1 to 8; 1 where it has none that can be read."""
    try:
        stated = image.getexif().get(ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - damaged EXIF is no damaged image
        return 1
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    turns = Image.Transpose
    ways = (
        None,
        turns.FLIP_LEFT_RIGHT,
        turns.ROTATE_180,
        turns.FLIP_TOP_BOTTOM,
        turns.TRANSPOSE,
        turns.ROTATE_270,
        turns.TRANSVERSE,
        turns.ROTATE_90,
    )
    way = ways[orientation - 1]
    return image if way is None else image.transpose(way)


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())
    if "truncated" in words or isinstance(error, EOFError):
        return "the image is cut: its data end too early"
    if "cannot identify" in words:
        return "the image's header is damaged"
    return f"the image cannot be decoded: {words[:120] or type(error).__name__}"
