"""A local folder as a store: atomic writes by rename, conditional ones under flock.

Own code rather than obstore's LocalStore, which has no compare-and-swap, and a lock that its writers do not take would
protect nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from shipway import locks
from shipway.deaths import FULL
from shipway.errors import AccessDenied, Conflict, NotFound, StorageError
from shipway.storage.base import RESERVED, Got, ObjectInfo, is_reserved

CHUNK = 1 << 20
THREADS = 4


class LocalBackend:
    """Objects are files below `root`; a key is a relative path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> tuple[bytes, str]:
        with _errors(self._path(key)), open(self._path(key), "rb") as file:
            return file.read(), _etag(os.fstat(file.fileno()))

    def get_many(self, keys: list[str], most: int) -> list[Got]:
        return [self._at_most(key, most) for key in keys]

    def _at_most(self, key: str, most: int) -> Got:
        info = self.head(key)
        if info is None or info.size_bytes > most:
            return info.size_bytes if info else None
        return self.get(key)[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _errors(self._path(key)), open(self._path(key), "rb") as file:
            file.seek(start)
            return file.read(length)

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with _errors(self._path(key)):
                return self._info(key, self._path(key).stat())
        except NotFound:
            return None

    def put(self, key: str, data: bytes) -> ObjectInfo:
        return self._write(key, data, None)

    def create(self, key: str, data: bytes) -> ObjectInfo:
        return self._write(key, data, "")

    def swap(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        return self._write(key, data, etag)

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        top = self._path(prefix) if prefix else self.root
        infos = []
        with _errors(top):
            for folder, folders, names in os.walk(top, followlinks=True):
                folders[:] = [name for name in folders if not name.startswith(RESERVED)]
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self.root).as_posix()
                    if is_reserved(key):
                        continue
                    with suppress(FileNotFoundError):  # deleted while we look
                        infos.append(self._info(key, path.stat()))
        yield from sorted(infos, key=lambda info: info.key)

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            with _errors(self._path(key)), suppress(FileNotFoundError):
                self._path(key).unlink()

    def upload(self, path: Path, key: str) -> tuple[int, str]:
        with _errors(path), open(path, "rb") as source:
            digest = hashlib.sha256()
            info = self._replace(key, None, lambda target: _copy(source, target, digest))
        return info.size_bytes, digest.hexdigest()

    def download(self, key: str, path: Path) -> str:
        digest = hashlib.sha256()
        with _errors(self._path(key)), open(self._path(key), "rb") as source, _errors(path), open(path, "wb") as target:
            _copy(source, target, digest)
        return digest.hexdigest()

    def upload_many(self, files: list[tuple[Path, str]]) -> list[tuple[int, str]]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda pair: self.upload(*pair), files))

    def download_many(self, files: list[tuple[str, Path]]) -> Iterator[str]:
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda pair: self.download(*pair), files)

    def _path(self, key: str) -> Path:
        return self.root / key

    def _info(self, key: str, stat: os.stat_result) -> ObjectInfo:
        if not _is_file(stat):
            raise NotFound("is a folder, not an object", field=self._path(key))
        return ObjectInfo(key, stat.st_size, _etag(stat), stat.st_mtime)

    def _write(self, key: str, data: bytes, expected: str | None) -> ObjectInfo:
        return self._replace(key, expected, lambda target: target.write(data))

    def _replace(self, key: str, expected: str | None, fill: object) -> ObjectInfo:
        """Writes beside the object, then renames under the folder's lock.

        Args:
            key: Where.
            expected: None: whatever stands there; "": nothing may; else the ETag that must stand there.
            fill: Called with the open temporary file.
        """
        path = self._path(key)
        temporary = path.parent / f"{RESERVED}{uuid.uuid4().hex}"
        assert callable(fill)
        with _errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(temporary, "xb") as file:
                    fill(file)
                    # An inode number may return and the kernel's clock steps by 4 ms: alone they
                    # would let a swap take a third version for the first.
                    os.utime(file.fileno(), ns=(time.time_ns(), time.time_ns()))
                    file.flush()
                    if expected is not None:  # pointers and versions survive a power cut
                        os.fsync(file.fileno())
                    stat = os.fstat(file.fileno())
                with locks.alone_in(path.parent):
                    if expected is not None:
                        _check(path, expected)
                    os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return self._info(key, stat)


def _check(path: Path, expected: str) -> None:
    try:
        current = _etag(path.stat())
    except FileNotFoundError:
        current = ""
    if current != expected:
        what = "exists already" if not expected else "is gone" if not current else "has changed since it was read"
        raise Conflict(f"file://{path}: {what}; another writer was first, read it again")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Operating system errors as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("no such object", field=error.filename or path) from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise NotFound("is a folder, or below a file, not an object", field=error.filename or path) from error
    except PermissionError as error:
        raise AccessDenied(f"permission denied for user id {os.getuid()}", field=error.filename or path) from error
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> StorageError:
    """A full disk in words; anything else by its own."""
    if error.errno in FULL:
        folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
        free = shutil.disk_usage(folder).free
        return StorageError(f"{path}: no space left on the disk ({free >> 20} MiB free); free some and run again")
    return StorageError(f"{path}: {error.strerror or error}")


def _copy(source: IO[bytes], target: IO[bytes], digest: hashlib._Hash) -> None:
    while block := source.read(CHUNK):
        digest.update(block)
        target.write(block)


def _is_file(stat: os.stat_result) -> bool:
    import stat as modes

    return modes.S_ISREG(stat.st_mode)


def _etag(stat: os.stat_result) -> str:
    return f'"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"'
