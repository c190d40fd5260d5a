"""Encoders on this machine: a folder each, named by the hash of its description, made whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shipway import private
from shipway.context import Context
from shipway.errors import CorruptArtifact
from shipway.language.description import FILE, EncoderDescription

_ABANDONED_S = 3600  # a process that was killed leaves its scratch folder; no encoder takes that long to fetch


def kept_folder(key: str) -> Path:
    """Where the encoder whose description has that hash lies."""
    return Context.current().make_home() / "cache" / "encoders" / key


def keep(key: str, fill: Callable[[Path], None]) -> tuple[Path, EncoderDescription]:
    """The encoder's folder, each file verified; filled where it is not there, or was changed.

    Two processes that fill it at once end with one whole folder.

    Args:
        key: sha256 of the description.
        fill: Writes the description and its files into an empty folder.

    Raises:
        CorruptArtifact: what was filled in differs from its description.
    """
    folder = kept_folder(key)
    with suppress(CorruptArtifact):
        return folder, _verified(folder, key)
    private.make_folder(folder.parent)
    _clean(folder.parent)
    scratch = folder.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        scratch.mkdir(mode=0o700)
        fill(scratch)
        description = _verified(scratch, key)
        with suppress(CorruptArtifact):  # another process was faster: its folder is as whole as ours
            return folder, _verified(folder, key)
        with suppress(FileNotFoundError):  # there is none; one that was changed leaves by rename, and is nobody's then
            folder.rename(scratch.with_name(f"{scratch.name}-changed"))
        try:
            scratch.rename(folder)
        except OSError:
            _verified(folder, key)
        return folder, description
    finally:
        for each in (scratch, scratch.with_name(f"{scratch.name}-changed")):
            shutil.rmtree(each, ignore_errors=True)


def check_file(path: Path, sha256: str, where: str) -> None:
    """Refuses a file of other bytes.

    Raises:
        CorruptArtifact: it is gone, a link, or its hash differs.
    """
    if path.is_symlink() or not path.is_file():
        raise CorruptArtifact(f"{where}: {path.name} is missing or a link")
    with path.open("rb") as file:
        given = hashlib.file_digest(file, "sha256").hexdigest()
    if given != sha256:
        raise CorruptArtifact(f"{where}: {path.name} has sha256 {given}, expected {sha256}")


def _clean(root: Path) -> None:
    """Removes what killed processes left."""
    for left in root.glob(".*"):
        with suppress(OSError):  # its process is at it, after all
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left)


def _verified(folder: Path, key: str) -> EncoderDescription:
    check_file(folder / FILE, key, str(folder))
    description = EncoderDescription.read(folder / FILE)
    for file in description.files:
        check_file(folder / file.path, file.sha256, str(folder))
    return description
