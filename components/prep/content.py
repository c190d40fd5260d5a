"""The door between a user's file and its readers: content in order, and every failure as one of our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from polars.exceptions import PanicException, PolarsError

from shipway.components.prep.magic import misnamed
from shipway.components.prep.streams import BROKEN, OPENERS
from shipway.errors import InvalidData, ShipwayError

CHUNK = 1 << 16


@contextmanager
def reading(shown: str, where: str = "") -> Iterator[None]:
    """The one door of all readers: whatever a library raises over a file leaves as an error of ours.

    Args:
        shown: The file's name.
        where: Which part of it was being read.

    Raises:
        InvalidData: names the file, the part and the library's reason; the cause is chained.
    """
    try:
        yield
    except (ShipwayError, GeneratorExit, MemoryError):
        raise
    except (Exception, PanicException) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if not isinstance(error, (*BROKEN, PolarsError)):
            reason = f"{type(error).__name__}: {reason}"
        raise InvalidData(f"{shown!r} cannot be read{where}: {reason}", field="data", given=shown) from error


class Content:
    """A file's content in order, and how much of it came before it broke."""

    def __init__(self, source_path: Path, shown: str, compression: str) -> None:
        self._path, self._shown, self._compression = source_path, shown, compression
        self.bytes = self.lines = 0

    def __enter__(self) -> Self:
        if self._compression and not self._path.stat().st_size:
            raise InvalidData(
                f"{self._shown!r} has no bytes, which no {self._compression} file is; copy it again",
                field="data",
                given=self._shown,
            )
        self._file = OPENERS[self._compression](self._path)
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end.

        Raises:
            InvalidData: it cannot be read or decompressed; says what was read before.
        """
        parts = []
        try:
            while size > 0 and (part := self._file.read(min(size, CHUNK))):
                parts.append(part)
                size -= len(part)
                self.bytes += len(part)
                self.lines += part.count(b"\n")
        except BROKEN as error:
            raise InvalidData(
                f"{self._shown!r} cannot be read{self._how(error)}", field="data", given=self._shown
            ) from error
        return b"".join(parts)

    def _how(self, error: BaseException) -> str:
        with self._path.open("rb") as file:
            really = misnamed(file.read(1024), self._path.name.removesuffix(self._compression))
        if really and really.endswith(f" {self._path.name}"):  # it begins as its name says
            big = "needs a window above 128 MiB: compress it without --long"
            damaged = "is damaged, or something else stands behind its compressed data: copy it again"
            really = big if "too much memory" in str(error) else damaged
        if self.bytes or isinstance(error, EOFError):
            return f" to its end: {error}; {self.lines:,} lines, {self.bytes:,} bytes of it were read; copy it again"
        return f": {error}" + (f"; it {really}" if really else "")
