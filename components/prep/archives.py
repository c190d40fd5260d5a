"""Archives of many files, unpacked to scratch disk: nothing outside of it, no links, and no more than is borne."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from shipway.errors import InvalidData
from shipway.storage import folders
from shipway.storage.local import disk_error

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LEAST_BYTES = 1 << 30  # an archive may always unpack to as much, however small it is
TIMES = 20  # beyond that to this many times its own size: images and Parquet are compressed already
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    """A file in an archive; `why` is set where it is left out."""

    name: str
    size: int
    why: str | None
    open: Callable[[], IO[bytes] | None]


def is_archive(name: str) -> bool:
    """By its name."""
    return name.lower().endswith(ARCHIVES)


def unpack(path: Path, shown: str, folder: Path, wanted: Callable[[str], bool], max_bytes: int) -> dict[str, str]:
    """Unpacks the files whose names are wanted, below `folder`.

    Of a file larger than `max_bytes` one byte more is written, so that its reader sees that it is too large.

    Args:
        path: The archive.
        shown: Its name, for messages.
        folder: Empty or absent.
        wanted: Whether a file of this name is of use.
        max_bytes: Of one file.

    Returns:
        The files that were left out, with the reason.

    Raises:
        InvalidData: it cannot be read to its end, or would unpack to far more than its size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    most = max(LEAST_BYTES, TIMES * path.stat().st_size)
    left_out: dict[str, str] = {}
    members = _zip(path) if _is_zip(path) else _tar(path)
    count = total = 0
    try:
        for member in members:
            count += 1
            total += member.size
            if total > most:
                raise InvalidData(
                    f"{shown!r} would unpack to more than {most:,} bytes, {total // path.stat().st_size} "
                    "times its size; if that is meant, unpack it and give the folder",
                    field="data",
                    given=shown,
                )
            path_in = str(PurePosixPath(member.name))  # without "./" in front
            name = folders.readable(path_in)
            why = _why_left_out(path_in) or member.why
            if why is None and folders.is_hidden(name):
                continue
            if why is None:
                why = _write(member, folder / path_in, max_bytes) if wanted(name) else "its name says no use here"
            if why is not None:
                left_out[name] = why
    except BROKEN as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InvalidData(
            f"{shown!r} cannot be read as an archive to its end: {reason}; {count:,} entries of it "
            "were read; copy it again",
            field="data",
            given=shown,
        ) from error
    return left_out


def _is_zip(path: Path) -> bool:
    """By its first bytes; by its name where they say nothing, so that the message is of what it should be."""
    with path.open("rb") as file:
        head = file.read(4)
    return head.startswith(b"PK") or (path.name.lower().endswith(".zip") and not head.startswith(b"\x1f\x8b"))


def _why_left_out(name: str) -> str | None:
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts:
        return "its name leads out of the archive"
    if folders.readable(name) != name:
        return "its name is not UTF-8"
    return None


def _write(member: _Member, path: Path, max_bytes: int) -> str | None:
    """Writes one file; why it could not be, where the archive is to blame."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except FileExistsError:
        return "it stands there twice, or as a file and a folder"
    except OSError as error:
        raise disk_error(error, path) from error
    with file:
        try:
            opened = member.open()
            assert opened is not None
            with opened:
                data = opened.read(max_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            # The empty file stays: its row is a bad one, and counts as such.
            return f"it cannot be unpacked: {' '.join(str(error).split())[:160]}"
        try:
            file.write(data)
        except OSError as error:
            raise disk_error(error, path) from error
    return None


def _zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            why = "it is encrypted" if info.flag_bits & 1 else None
            if stat.S_ISLNK(info.external_attr >> 16):
                why = "it is a link"
            yield _Member(info.filename, info.file_size, why, lambda info=info: archive.open(info))  # type: ignore[misc]


def _tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r|*") as archive:
        for info in archive:
            if info.isdir():
                continue
            why = None if info.isreg() else "it is a link" if info.islnk() or info.issym() else "it is no file"
            yield _Member(info.name, info.size, why, lambda info=info: archive.extractfile(info))  # type: ignore[misc]
