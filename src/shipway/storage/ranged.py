"""One big object into a file: ranges in parallel, each streamed, hashed in order while the rest is on its way.

Blocks are written as they come and let go; the hash reads them back out of the page cache. Whole parts held until their
turn to be hashed cost more in fresh memory than the hash itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition

from shipway.errors import StorageError
from shipway.storage.local import disk_error

HASHED = 1 << 20  # bytes read back at once

Write = Callable[[bytes, int], None]  # a block and its offset in the object
Fetch = Callable[[int, int, Write], None]  # writes [start, end) in ascending order


def download(path: Path, size: int, part: int, at_once: int, fetch: Fetch) -> str:
    """Fills the file by parts of `part` bytes, `at_once` at a time; returns the sha256 of what stands in it.

    Raises:
        StorageError: the disk is full, said before the transfer begins; or what `fetch` raises.
    """
    try:
        with open(path, "w+b", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return _Landing(file.fileno(), path, size, part).run(at_once, fetch)
    except OSError as error:
        raise disk_error(error, path) from error


class _Landing:
    """How far each part has come."""

    def __init__(self, descriptor: int, path: Path, size: int, part: int) -> None:
        self._descriptor, self._path, self._size = descriptor, path, size
        self._parts = [(start, min(start + part, size)) for start in range(0, size, part)]
        self._landed = [start for start, _ in self._parts]
        self._changed = Condition()
        self._failed: BaseException | None = None

    def run(self, at_once: int, fetch: Fetch) -> str:
        """Transfers in threads, the hash in the caller's, which a signal can still interrupt."""
        pool = ThreadPoolExecutor(at_once)
        try:
            for number in range(len(self._parts)):
                pool.submit(self._transfer, number, fetch)
            return self._hash()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _transfer(self, number: int, fetch: Fetch) -> None:
        start, end = self._parts[number]

        def write(block: bytes, at: int) -> None:
            if self._failed is not None:  # the others need not go on
                raise StorageError(f"{self._path}: given up")
            self._write(block, at)
            with self._changed:
                self._landed[number] = at + len(block)
                self._changed.notify()

        try:
            fetch(start, end, write)
            if self._landed[number] != end:
                raise StorageError(f"{self._path}: bytes {start}-{end} ended at {self._landed[number]}; run again")
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._fail(error)

    def _write(self, block: bytes, at: int) -> None:
        view = memoryview(block)
        try:
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
        except OSError as error:
            raise disk_error(error, self._path) from error

    def _hash(self) -> str:
        digest = hashlib.sha256()
        block = memoryview(bytearray(HASHED))
        for number, (at, end) in enumerate(self._parts):
            while at < end:
                landed = self._wait(number, at)
                while at < landed:
                    count = os.preadv(self._descriptor, [block[: landed - at]], at)
                    digest.update(block[:count])
                    at += count
        return digest.hexdigest()

    def _wait(self, number: int, at: int) -> int:
        """How far the part is, once that is past `at`."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed is not None or self._landed[number] > at)
            if self._failed is not None:
                raise self._failed
            return self._landed[number]

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failed = self._failed or error
            self._changed.notify()
