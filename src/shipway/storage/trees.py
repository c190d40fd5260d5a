"""Many files below one place, on a disk or in object storage: what they are called, how large, and their content."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shipway.errors import InvalidData, NotFound
from shipway.storage import folders
from shipway.storage.base import is_reserved
from shipway.storage.store import Store, open_folder

AT_FIRST, AT_LEAST, AT_MOST = 64, 8, 512  # objects asked for together, so that they have about so many bytes:
GROUP_BYTES = 16 << 20
NOT_THERE = "no such file"
NO_PATH = "no path"
OUTSIDE = "the path leads out of the folder"
SCHEME = "s3://"


@dataclass(frozen=True)
class Entry:
    """A file below a place.

    Attributes:
        name: Below it, with `/` between.
        size_bytes: Its size.
        version: Modification time in ns, or an ETag: another one is another content.
    """

    name: str
    size_bytes: int
    version: int | str


def list_tree(place: str) -> list[Entry]:
    """All files below a folder or an `s3://` prefix by name, but for hidden ones; links to folders are followed once.

    Raises:
        InvalidData: a folder that may not be looked into.
        NotFound: no such folder.
    """
    if place.startswith(SCHEME):
        store, prefix = _bucket(place)
        return [
            Entry(info.key.removeprefix(prefix), info.size_bytes, info.etag or "")
            for info in store.list(prefix.rstrip("/"))
            if not info.key.endswith("/") and not folders.is_hidden(info.key.removeprefix(prefix))
        ]
    if not os.path.isdir(place):
        raise NotFound(f"no folder {place!r}", field="data", given=place)
    return sorted(_below(place), key=lambda entry: entry.name)


def _below(top: str) -> Iterator[Entry]:
    walked: set[tuple[int, int]] = set()
    pending = [("", top)]
    while pending:
        name, path = pending.pop()
        try:
            stat = os.stat(path)
            if (stat.st_dev, stat.st_ino) in walked:
                continue
            walked.add((stat.st_dev, stat.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith((".", "_")):
                        continue
                    if entry.is_dir():
                        pending.append((f"{name}{entry.name}/", entry.path))
                    elif entry.is_file():
                        status = entry.stat()
                        yield Entry(f"{name}{entry.name}", status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise InvalidData(
                f"folder {path!r} cannot be looked into: {error.strerror}", field="data", given=path
            ) from error


class Contents:
    """The bytes of files below a place, asked by what rows call them.

    Args:
        place: A folder of this machine, or an `s3://` prefix.
        max_bytes: A larger file is not read.
    """

    def __init__(self, place: str, max_bytes: int) -> None:
        self._place, self._most = place.rstrip("/") or "/", max_bytes

    def read(self, paths: Sequence[str | None]) -> Iterator[bytes | str]:
        """For each path in order the file's bytes, or why there are none.

        Args:
            paths: Relative to the place, or whole and below it.

        Raises:
            AccessDenied, StorageUnavailable: of object storage; that is no fault of a row.
        """
        names = [self._below(path) for path in paths]
        if not self._place.startswith(SCHEME):
            yield from map(self._from_disk, names)
            return
        store, prefix = _bucket(self._place)
        count = AT_FIRST
        with ThreadPoolExecutor(1) as ahead:  # the next ones travel while these are worked on
            waiting = ahead.submit(self._from_store, store, prefix, names[:count])
            start = count
            while got := waiting.result():
                held = sum(map(len, got)) // len(got)
                count = min(max(GROUP_BYTES // max(held, 1), AT_LEAST), AT_MOST)
                waiting = ahead.submit(self._from_store, store, prefix, names[start : start + count])
                start += count
                yield from got

    def _below(self, path: str | None) -> str | None:
        """A row's path relative to the place, "" for none; None where it leads elsewhere."""
        name = (path or "").strip().removeprefix("file://").removeprefix(f"{self._place}/")
        if "\\" in name and not os.path.exists(f"{self._place}/{name}"):
            name = name.replace("\\", "/")  # as Windows writes it
        if "://" in name or name.startswith("/") or "\0" in name or ".." in name.split("/") or is_reserved(name):
            return None
        return name if _is_plain(name) else str(PurePosixPath(name)).removesuffix(".")

    def _from_disk(self, name: str | None) -> bytes | str:
        if not name:
            return NO_PATH if name is not None else OUTSIDE
        try:
            file = os.open(f"{self._place}/{name}", os.O_RDONLY | os.O_NONBLOCK)  # of a pipe nobody need write to
            try:
                data = self._whole(file)
            finally:
                os.close(file)
        except (FileNotFoundError, NotADirectoryError, UnicodeError):
            return NOT_THERE
        except OSError as error:
            return f"the file cannot be read: {(error.strerror or str(error)).lower()}"
        return too_large(self._most) if data is None else data

    def _whole(self, file: int) -> bytes | None:
        """A file's bytes; None where they are too many. Python's own readers would reserve `_most` for each."""
        size = os.fstat(file).st_size
        if size > self._most:
            return None
        data = os.read(file, size + 1)
        while size and len(data) < size and (more := os.read(file, size + 1 - len(data))):
            data += more
        return data if len(data) <= self._most else None

    def _from_store(self, store: Store, prefix: str, names: Sequence[str | None]) -> list[bytes | str]:
        there = [name for name in names if name]
        got = dict(zip(there, store.get_many([prefix + name for name in there], self._most), strict=True))
        contents: list[bytes | str] = []
        for name in names:
            data = got.get(name or "")
            if not name:
                contents.append(NO_PATH if name is not None else OUTSIDE)
            elif data is None:
                contents.append(NOT_THERE)
            else:
                contents.append(data if isinstance(data, bytes) else too_large(self._most))
        return contents


def _is_plain(name: str) -> bool:
    return not name.startswith("./") and "//" not in name and "/./" not in name and not name.endswith(("/", "/."))


def too_large(most: int) -> str:
    """The reason of a file that is not read."""
    return f"the file has more than {most:,} bytes (max_bytes)"


def parent_of(place: str) -> str:
    """The folder that a file or an object lies in."""
    if place.startswith(SCHEME):
        return place.rpartition("/")[0]
    return str(Path(place).absolute().parent)


def _bucket(place: str) -> tuple[Store, str]:
    """The bucket's store, and the prefix of keys below the place."""
    bucket, _, prefix = place.removeprefix(SCHEME).strip("/").partition("/")
    return open_folder(f"{SCHEME}{bucket}"), f"{prefix}/" if prefix else ""
