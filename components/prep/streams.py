"""A file's content, decompressed: all of its frames, and an error where the last one is cut.

The libraries' own readers stop in silence: zstandard at a cut, bz2 and lzma at a second stream whose head is damaged.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

FEED = 1 << 16
ZSTD_FEED = 1 << 10  # its decoder gives out all that its input holds, which may be 40,000 times as much
BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


class _Zstd:
    """One frame, with the attributes of the standard library's decoders."""

    needs_input = True

    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor().decompressobj()

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._object.decompress(data)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data


class Frames(io.RawIOBase):
    """One frame after the other, up to the file's end.

    Raises:
        EOFError: the file ends inside a frame.
    """

    def __init__(self, path: Path, new: Callable[[], Any], feed: int) -> None:
        self._file = path.open("rb")
        self._new, self._feed = new, feed
        self._decoder: Any = None
        self._is_padded = False  # NUL bytes, which xz allows, may only stand behind a frame
        self._input = b""
        self._output = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._output:
            if not self._advance(len(view)):
                return 0
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _advance(self, size: int) -> bool:
        """Decodes some more into `_output`; False at the file's end."""
        if self._decoder is None or self._decoder.needs_input:
            self._input = self._input or self._file.read(self._feed)
            if not self._input:
                if self._decoder is not None:
                    raise EOFError("it ends in the middle of its compressed data")
                return False
        if self._decoder is None:
            if self._is_padded:
                self._input = self._input.lstrip(b"\0")
            if not self._input:
                return True
            self._decoder = self._new()
        data, self._input = self._input, b""
        self._output = self._decoder.decompress(data, size)
        if self._decoder.eof:
            self._input, self._decoder, self._is_padded = self._decoder.unused_data, None, True
        return True


def _gzip(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path))  # refuses a cut file and what is no member behind the first


def _frames(new: Callable[[], Any], feed: int = FEED) -> Callable[[Path], BinaryIO]:
    return lambda path: cast(BinaryIO, io.BufferedReader(Frames(path, new, feed), FEED))


OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    "": lambda path: path.open("rb"),
    ".gz": _gzip,
    ".bz2": _frames(bz2.BZ2Decompressor),
    ".xz": _frames(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)),  # of the older format, NUL bytes are an empty file
    ".zst": _frames(_Zstd, ZSTD_FEED),
}
