"""What an image file says of itself, and whether it is whole, without decoding it. Bytes alone, no library.

Sources: JPEG ITU-T T.81 annex B; PNG W3C third edition, 5; WebP RFC 9649; GIF89a specification.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from shipway.inputs.base import BadRequest

MAX_PIXELS = 50_000_000  # 150 MB as RGB
MOST_PIXELS = 89_478_485  # above it Pillow warns of a decompression bomb
EXPECTED = "expected JPEG, PNG, WebP or GIF"
CUT = "the image is cut: its data end too early"


class BadImage(BadRequest):
    """Bytes that are no image which can be read whole; the message is the reason, in a few words."""


@dataclass(frozen=True)
class Header:
    """What a file declares.

    Attributes:
        format: `JPEG`, `PNG`, `WebP` or `GIF`.
        width, height: Pixels, before EXIF's rotation.
    """

    format: str
    width: int
    height: int


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """The header of a file that is whole as far as its structure shows.

    Of JPEG the segments and the end mark, of PNG each chunk with its checksum, of WebP the chunks' sizes, of GIF the
    blocks of its first frame. Damage within compressed pixels is seen only when they are decoded, but for PNG.

    Raises:
        BadImage: empty, another format, cut, damaged, or more pixels than allowed.
    """
    if not data:
        raise BadImage("the file is empty")
    try:
        header = _read(data)
    except (IndexError, struct.error):
        raise BadImage(CUT) from None
    if header.width < 1 or header.height < 1:
        raise BadImage("the image is 0 pixels wide or high")
    if header.width * header.height > max_pixels:
        raise BadImage(f"the image declares more than {max_pixels:,} pixels (max_pixels)")
    return header


def _read(data: bytes) -> Header:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    raise BadImage(_not_an_image(data))


_SIZES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # SOF: baseline, extended, progressive, and with arithmetic coding
_OTHER_SIZES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # that ends the data of a scan


def _jpeg(data: bytes) -> Header:
    at, header = 2, None
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        if data[at] != 0xFF:
            raise BadImage("the JPEG's segments are damaged")
        marker = data[at + 1]
        at += 2
        if marker == 0xD9:
            break
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2:
            raise BadImage("the JPEG's segments are damaged")
        if marker in _SIZES:
            header = _jpeg_size(data, at)
        elif marker in _OTHER_SIZES:
            raise BadImage(f"a JPEG of a kind that is not read (SOF{marker - 0xC0})")
        at += length
        if at > len(data):
            raise BadImage(CUT)
        if marker == 0xDA:
            if data.endswith(b"\xff\xd9") and at < len(data):
                break
            match = _MARKER.search(data, at)
            if match is None:
                raise BadImage(CUT)
            at = match.start()
    if header is None:
        raise BadImage("the JPEG states no size")
    return header


def _jpeg_size(data: bytes, at: int) -> Header:
    bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
    if bits != 8:
        raise BadImage(f"a JPEG of {bits} bits a channel, which is not read")
    if channels not in (1, 3, 4):
        raise BadImage(f"a JPEG of {channels} channels; expected 1, 3 or 4")
    return Header("JPEG", width, height)


PNG = b"\x89PNG\r\n\x1a\n"


def _png(data: bytes) -> Header:
    at, header, has_pixels = len(PNG), None, False
    view = memoryview(data)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[at + 4 : end]) != checksum:
            raise BadImage(f"the PNG is damaged: the checksum of its chunk {_name(kind)} is wrong")
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise BadImage("the PNG does not begin with its header")
            header = Header("PNG", *struct.unpack_from(">II", data, at + 8))
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            break
        at = end + 4
    if not has_pixels:
        raise BadImage("the PNG holds no pixels")
    return header


def _webp(data: bytes) -> Header:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise BadImage(CUT)
    at, canvas, frame = 12, None, None
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise BadImage(CUT)
        if kind == b"VP8X":
            canvas = Header("WebP", 1 + _low24(data, at + 12), 1 + _low24(data, at + 15))
        elif kind in (b"VP8 ", b"VP8L", b"ANMF") and frame is None:
            frame = _webp_frame(data, kind, at + 8)
        at += 8 + length + length % 2
    if frame is None:
        raise BadImage("the WebP holds no pixels")
    return canvas or frame


def _webp_frame(data: bytes, kind: bytes, at: int) -> Header:
    if kind == b"VP8 ":
        if data[at + 3 : at + 6] != b"\x9d\x01\x2a":
            raise BadImage("the WebP's frame is damaged")
        width, height = struct.unpack_from("<HH", data, at + 6)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        if data[at] != 0x2F:
            raise BadImage("the WebP's frame is damaged")
        (bits,) = struct.unpack_from("<I", data, at + 1)
        return Header("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    return Header("WebP", 1 + _low24(data, at + 6), 1 + _low24(data, at + 9))


def _low24(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16


def _gif(data: bytes) -> Header:
    width, height, packed = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colours(packed)
    while data[at] == 0x21:  # extensions
        at = _behind_blocks(data, at + 2)
    if data[at] != 0x2C:
        raise BadImage("the GIF holds no frame")
    left, top, wide, high, packed = struct.unpack_from("<HHHHB", data, at + 1)
    _behind_blocks(data, at + 11 + _colours(packed))  # the byte before them is the code size
    return Header("GIF", max(width, left + wide), max(height, top + high))


def _colours(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    while length := data[at]:
        at += 1 + length
    return at + 1


_OTHERS = (
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\x01\0", "an icon file"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file (git lfs pull fetches it)"),
)
_BRANDS = {b"avif": "an AVIF image", b"heic": "a HEIC image", b"heix": "a HEIC image", b"mif1": "a HEIF image"}


def _not_an_image(data: bytes) -> str:
    for magic, what in _OTHERS:
        if data.startswith(magic):
            return f"{what}; {EXPECTED}"
    if data[4:8] == b"ftyp":
        return f"{_BRANDS.get(data[8:12], 'a video or a HEIF image')}; {EXPECTED}"
    start = data[:400].lstrip().lower()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return f"an SVG drawing; {EXPECTED}"
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "no image but a web page or XML, perhaps a server's error saved in its place"
    if b"\0" not in data[:400] and all(byte >= 32 or byte in b"\t\r\n" for byte in data[:400]):
        return f"no image but text; {EXPECTED}"
    return f"no image that is known here; {EXPECTED}"


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else "without a name"
